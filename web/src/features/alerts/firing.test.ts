import { describe, expect, it } from "vitest";

import type { Alert } from "@/lib/types";

import { countOf, hear, inOrder, UNHEARD } from "./firing";

function alert(id: string, given: Partial<Alert> = {}): Alert {
  return {
    id, fingerprint: id, severity: "critical", state: "firing", event: "disk.full", title: id, text: "", advice: "", labels: {}, group: "", first_seen: 1, last_seen: 1,
    resolved_at: null, count: 1, acknowledged_at: null, acknowledged_by: null, silenced_by: null, inhibited_by: null, told_at: 1, level: 0, ...given,
  };
}

const seen = { acknowledged_at: 2, acknowledged_by: "owner" };

describe("the bell", () => {
  it("counts what fires and is not kept quiet, and says the worst that nobody has seen", () => {
    expect(countOf([])).toEqual({ count: 0, worst: "debug", seen: true });
    const firing = [alert("a", { severity: "warning" }), alert("b", seen), alert("c", { silenced_by: "sil_1" }), alert("d", { inhibited_by: "b" })];
    expect(countOf(firing)).toEqual({ count: 2, worst: "warning", seen: false });
    expect(countOf([alert("b", seen), alert("e", { severity: "info", ...seen })])).toEqual({ count: 2, worst: "critical", seen: true });
  });
});

describe("the list", () => {
  it("has first what needs somebody", () => {
    const firing = [
      alert("silenced", { silenced_by: "sil_1" }),
      alert("seen", seen),
      alert("older", { first_seen: 5 }),
      alert("warning", { severity: "warning", first_seen: 9 }),
      alert("newer", { first_seen: 6 }),
    ];
    expect(inOrder(firing).map((each) => each.id)).toEqual(["newer", "older", "warning", "seen", "silenced"]);
    expect(firing[0]!.id).toBe("silenced");
  });
});

describe("the news", () => {
  const after = (...looks: [firing: Alert[], shown?: boolean][]) => looks.reduce((heard, [firing, shown = false]) => hear(heard, firing, shown), UNHEARD).news;

  it("is what got critical since the page began, until it is over, seen or silenced", () => {
    const [a, b] = [alert("a"), alert("b")];
    expect(after([[a]])).toEqual([]);
    expect(after([[a]], [[a, b]])).toEqual(["b"]);
    expect(after([[]], [[a]], [[b, a]])).toEqual(["b", "a"]);
    expect(after([[]], [[a]], [[]])).toEqual([]);
    expect(after([[]], [[a]], [[alert("a", seen)]])).toEqual([]);
    expect(after([[]], [[a]], [[alert("a", { silenced_by: "sil_1" })]])).toEqual([]);
    expect(after([[alert("a", { severity: "warning" })]], [[a]])).toEqual(["a"]);
    expect(after([[]], [[alert("a", { severity: "warning" })]])).toEqual([]);
  });

  it("is told again when a silence ends and it is still so", () => {
    expect(after([[alert("a")]], [[alert("a", { silenced_by: "sil_1" })]], [[alert("a")]])).toEqual(["a"]);
  });

  it("is none while the list is shown, nor of that afterwards", () => {
    const firing = [alert("a")];
    expect(after([[]], [firing, true], [firing])).toEqual([]);
    expect(after([[]], [firing], [firing, true])).toEqual([]);
    expect(after([[]], [firing], [firing, true], [[...firing, alert("b")]])).toEqual(["b"]);
  });

  it("is the same thing for the same look, or the page would never be done", () => {
    const firing = [alert("a")];
    const heard = hear(hear(UNHEARD, [], false), firing, false);
    expect(hear(heard, firing, false)).toBe(heard);
    const shown = hear(heard, firing, true);
    expect(hear(shown, firing, true)).toBe(shown);
  });
});
