import { beforeEach, describe, expect, it, vi } from "vitest";

import type { ApiError } from "./apiError";
import { follow } from "./follow";
import type { RunEvent } from "./types";

function bytes(...events: { seq: number; kind: string }[]): Uint8Array {
  return new TextEncoder().encode(events.map((event) => `data: ${JSON.stringify({ run_id: "run_1", data: {}, ...event })}\n\n`).join(""));
}

function stream(pieces: Uint8Array[], broken: boolean): Response {
  return new Response(
    new ReadableStream({
      pull(controller) {
        const piece = pieces.shift();
        if (piece) controller.enqueue(piece);
        else if (broken) controller.error(new TypeError("network error"));
        else controller.close();
      },
    }),
  );
}

function watcher() {
  const seen: RunEvent[] = [];
  const refused: ApiError[] = [];
  return { seen, refused, to: { onEvents: (events: RunEvent[]) => void seen.push(...events), onBroken: () => undefined, onRefused: (error: ApiError) => void refused.push(error) } };
}

describe("following a run", () => {
  beforeEach(() => vi.stubGlobal("localStorage", { getItem: () => "pk_test" }));

  it("resumes a broken stream at the next sequence number and sees each event once", async () => {
    const asked: string[] = [];
    const answers = [
      () => stream([bytes({ seq: 1, kind: "status" }, { seq: 2, kind: "delta" })], true),
      () => Promise.reject(new TypeError("refused")),
      () => new Response("{}", { status: 503 }),
      () => stream([bytes({ seq: 2, kind: "delta" }, { seq: 3, kind: "delta" }), bytes({ seq: 3, kind: "heartbeat" })], false), // a lease that ran out
      () => stream([bytes({ seq: 4, kind: "done" })], false),
    ];
    const { seen, refused, to } = watcher();
    await follow("run_1", to, new AbortController().signal, (async (url: string) => {
      asked.push(url);
      return answers.shift()!();
    }) as typeof fetch, 1);
    expect(seen.map((event) => event.seq)).toEqual([1, 2, 3, 4]);
    expect(asked.map((url) => url.split("after=")[1])).toEqual(["0", "2", "2", "2", "3"]);
    expect(refused).toEqual([]);
  });

  it("gives up, and says so, when the run is not there", async () => {
    const { seen, refused, to } = watcher();
    await follow("run_1", to, new AbortController().signal, (async () => new Response('{"error":{"code":"not_found","message":"no run"}}', { status: 404 })) as typeof fetch, 1);
    expect(seen).toEqual([]);
    expect(refused.map((error) => error.code)).toEqual(["not_found"]);
  });
});
