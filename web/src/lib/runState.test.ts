import { describe, expect, it } from "vitest";

import { apply, declined, NO_EVENTS } from "./runState";
import type { RunEvent } from "./types";

function event(seq: number, kind: string, data: Record<string, unknown> = {}): RunEvent {
  return { run_id: "run_1", seq, kind, data };
}

const hit = { chunk_id: 7, document_id: "doc_1", title: "Guide", text: "…", start: 0, end: 9, score: 0.8, page: 2, heading_path: [] };
const citation = { number: 1, document_id: "doc_1", title: "Guide", start: 2, end: 5, quote: "…", page: 2 };
const answer = [
  event(1, "status", { stage: "retrieve" }),
  event(2, "sources", { hits: [hit] }),
  event(3, "delta", { text: "It is " }),
  event(4, "delta", { text: "green [1]." }),
  event(5, "citations", { citations: [citation], text: "It is green [1]." }),
  event(6, "done", { state: "done", finish_reason: "stop", text: "It is green [1].", citations: [citation], grounded: true }),
];

describe("the fold of a run's events", () => {
  it("tells the whole answer", () => {
    expect(apply(NO_EVENTS, answer)).toMatchObject({ seq: 6, ended: "done", text: "It is green [1].", hits: [hit], citations: [citation], grounded: true });
  });

  it("takes an event that came twice once, wherever the stream was cut and resumed", () => {
    const written = answer.slice(0, 4); // without the end, whose whole text would hide a doubled word
    for (let cut = 0; cut <= written.length; cut += 1) {
      const resumed = apply(apply(NO_EVENTS, written.slice(0, cut)), written.slice(Math.max(0, cut - 2)));
      expect(resumed).toMatchObject({ seq: 4, text: "It is green [1]." });
    }
  });

  it("drops the text so far when the answer begins again, and keeps the sources", () => {
    const view = apply(NO_EVENTS, [...answer.slice(0, 4), event(5, "restarted", { attempt: 2, reason: "host died" }), event(6, "delta", { text: "New." })]);
    expect(view).toMatchObject({ text: "New.", again: true, hits: [hit], ended: null });
  });

  it("is not moved on by a heartbeat or an unknown kind's content", () => {
    const view = apply(NO_EVENTS, [event(1, "delta", { text: "a" }), event(9, "heartbeat"), event(2, "later_kind", { text: "x" })]);
    expect(view).toMatchObject({ seq: 2, text: "a" });
  });

  it("tells a decline from an answer that needs no documents", () => {
    const end = { state: "done", text: "No.", citations: [], grounded: false };
    expect(declined(apply(NO_EVENTS, [event(1, "sources", { hits: [hit] }), event(2, "done", end)]))).toBe(true);
    expect(declined(apply(NO_EVENTS, [event(1, "sources", { hits: [] }), event(2, "done", end)]))).toBe(true);
    expect(declined(apply(NO_EVENTS, [event(1, "done", end)]))).toBe(false);
    expect(declined(apply(NO_EVENTS, answer))).toBe(false);
  });

  it("keeps what was written when the run fails or is stopped", () => {
    expect(apply(NO_EVENTS, [event(1, "delta", { text: "a" }), event(2, "error", { code: "engine_failed", message: "boom" })])).toMatchObject({
      text: "a",
      ended: "failed",
      error: { code: "engine_failed", message: "boom" },
    });
    expect(apply(NO_EVENTS, [event(1, "delta", { text: "a" }), event(2, "done", { state: "stopped" })])).toMatchObject({ text: "a", ended: "stopped" });
  });
});
