import { describe, expect, it } from "vitest";

import { citeMarks } from "./citeMarks";
import { splitAt } from "./codePoints";
import { formatPlace, parsePlace } from "./url";

describe("the address", () => {
  it("gives the same place back", () => {
    const place = { view: "search" as const, project: "prj_1", chat: "cnv_2", query: "¿qué & cómo?", state: "failed", passage: { document: "doc_3", start: 10, end: 20, page: 4 } };
    expect(parsePlace(formatPlace(place))).toEqual(place);
  });

  it("is read with care", () => {
    expect(parsePlace("?view=nothing&doc=doc_1&from=-4&to=x")).toMatchObject({ view: "chat", passage: { start: 0, end: 0, page: null } });
  });
});

describe("spans", () => {
  it("count code points, not UTF-16 units", () => {
    expect(splitAt("🌿 hoja 🌿 verde", 2, 6)).toEqual(["🌿 ", "hoja", " 🌿 verde"]);
    expect(splitAt("abc", 5, 9)).toEqual(["abc", "", ""]);
  });
});

describe("citation marks", () => {
  it("become links in running text and nowhere else", () => {
    const tree = {
      type: "root",
      children: [
        { type: "paragraph", children: [{ type: "text", value: "Green [1][12], see." }] },
        { type: "code", value: "a[1]" },
        { type: "link", url: "https://x", children: [{ type: "text", value: "[2]" }] },
      ],
    };
    citeMarks()(tree);
    expect(tree.children[0]!.children!.map((node) => ("url" in node ? node.url : (node as { value: string }).value))).toEqual(["Green ", "#cite-1", "#cite-12", ", see."]);
    expect(tree.children[2]!.children).toEqual([{ type: "text", value: "[2]" }]);
  });
});
