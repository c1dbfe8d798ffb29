import { describe, expect, it } from "vitest";

import { catalogues, preferred } from "./index";

type Tree = { [name: string]: unknown };

function leaves(tree: Tree, path = ""): [string, string][] {
  return Object.entries(tree).flatMap(([name, value]): [string, string][] => {
    const at = `${path}/${name}`;
    if (typeof value === "string") return [[at, value]];
    if (typeof value === "function") return [[at, String((value as (...given: unknown[]) => string)(2, 3))]];
    return leaves(value as Tree, at);
  });
}

const SAME = new Set(["/name", "/documents/units/bytes"]); // the same in both on purpose

describe("the catalogues", () => {
  it("hold the same strings, none empty, none left in English", () => {
    const en = new Map(leaves(catalogues.en));
    const es = new Map(leaves(catalogues.es));
    expect([...es.keys()].sort()).toEqual([...en.keys()].sort());
    for (const [at, text] of es) {
      expect(text.trim(), at).not.toBe("");
      if (!SAME.has(at)) expect(text, at).not.toBe(en.get(at));
    }
  });

  it("are chosen by the browser's first known language", () => {
    expect(preferred(["ca", "es-MX", "en"])).toBe("es");
    expect(preferred(["en-GB", "es"])).toBe("en");
    expect(preferred(["fr"])).toBe("en");
  });
});
