import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { ApiError } from "../apiError";
import { type Change, followChanges } from "./socket";

/** The browser's end of a socket, and what the server does with it. */
class Wire {
  sent: Record<string, unknown>[] = [];
  closed = false;
  onopen: (() => void) | null = null;
  onmessage: ((said: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;
  constructor(readonly ticket: string) {}
  send(text: string) {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
  close() {
    this.closed = true;
  }
  say(message: object) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  watching(after: number, complete = true) {
    this.onopen?.();
    this.say({ type: "watching", after, origin: "feed", complete });
  }
  change(seq: number) {
    this.say({ type: "change", change: { seq, entity: "document", id: `doc_${seq}`, op: "insert", conversation_id: null } });
  }
}

let wires: Wire[] = [];
let heard: (number | string)[] = [];
let leave: AbortController;
let ticket: () => Promise<string>;
let tickets = 0;

function begin(random = () => 1) {
  const to = {
    onChange: (change: Change) => void heard.push(change.seq),
    onAnew: () => void heard.push("anew"),
    onStanding: (standing: boolean) => void heard.push(standing ? "stands" : "gone"),
  };
  const open = (given: string) => {
    wires.push(new Wire(given));
    return wires.at(-1) as unknown as WebSocket;
  };
  return followChanges(to, leave.signal, { ticket: () => ticket(), open, random });
}

const soon = () => vi.advanceTimersByTimeAsync(0);
const last = () => wires.at(-1)!;

beforeEach(() => {
  vi.useFakeTimers();
  wires = [];
  heard = [];
  tickets = 0;
  leave = new AbortController();
  ticket = () => Promise.resolve(`ticket ${(tickets += 1)}`);
});
afterEach(() => {
  leave.abort();
  vi.useRealTimers();
});

describe("the page's socket", () => {
  it("begins now, and goes on after a break where it was, with a ticket of its own", async () => {
    void begin();
    await soon();
    last().watching(40);
    expect(last().sent).toEqual([{ type: "watch" }]);
    last().change(41);
    last().change(44);
    last().onclose!();
    await vi.advanceTimersByTimeAsync(500);
    expect(wires.map((wire) => wire.ticket)).toEqual(["ticket 1", "ticket 2"]);
    last().watching(44);
    expect(last().sent).toEqual([{ type: "watch", after: 44, origin: "feed" }]);
    last().change(45);
    expect(heard).toEqual(["stands", "anew", 41, 44, "gone", "stands", 45]);
  });

  it("has everything read anew when the feed is another one", async () => {
    void begin();
    await soon();
    last().watching(40);
    last().onclose!();
    await vi.advanceTimersByTimeAsync(500);
    last().watching(7, false);
    last().onclose!();
    await vi.advanceTimersByTimeAsync(500);
    last().watching(7);
    expect(last().sent).toEqual([{ type: "watch", after: 7, origin: "feed" }]);
    expect(heard).toEqual(["stands", "anew", "gone", "stands", "anew", "gone", "stands"]);
  });

  it("waits twice as long each time it is refused, half a minute at most, less by chance, and as long as it is told to", async () => {
    const pauses: number[] = [];
    let before = Date.now();
    ticket = () => {
      pauses.push(Date.now() - before);
      before = Date.now();
      return Promise.reject(new ApiError("unreachable", 0, "", pauses.length === 9 ? 45 : null));
    };
    let chance = 1;
    void begin(() => chance);
    await vi.advanceTimersByTimeAsync(61_500);
    expect(pauses).toEqual([0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000]);
    chance = 0;
    await vi.advanceTimersByTimeAsync(90_000);
    expect(pauses.slice(8)).toEqual([30_000, 45_000, 15_000]);
  });

  it("begins with the short pauses again once it stood", async () => {
    void begin();
    await soon();
    for (const after of [0, 500, 1_000, 2_000]) {
      await vi.advanceTimersByTimeAsync(after);
      last().onclose!();
    }
    await vi.advanceTimersByTimeAsync(4_000);
    last().watching(1);
    last().onclose!();
    const count = wires.length;
    await vi.advanceTimersByTimeAsync(500);
    expect(wires).toHaveLength(count + 1);
  });

  it("asks a silent server for a word, and gives the socket up when none comes", async () => {
    void begin();
    await soon();
    last().watching(3);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(last().sent.at(-1)).toEqual({ type: "ping" });
    last().say({ type: "pong" });
    await vi.advanceTimersByTimeAsync(29_999);
    expect(wires).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1 + 500);
    expect(wires[0]!.closed).toBe(true);
    expect(wires).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(10_000 + 1_000); // one that never opens
    expect(wires[1]!.closed).toBe(true);
    expect(wires).toHaveLength(3);
  });

  it("gives up for good when the key may not", async () => {
    const over = begin();
    await soon();
    last().onopen!();
    last().say({ type: "error", error: { code: "forbidden", message: "" }, run_id: null });
    await over;
    expect(last().closed).toBe(true);
    ticket = () => Promise.reject(new ApiError("forbidden", 403, ""));
    await begin();
    expect(wires).toHaveLength(1);
    expect(heard).toEqual([]);
  });

  it("leaves at once when the page does, and says nothing more", async () => {
    const over = begin();
    await soon();
    last().watching(3);
    leave.abort();
    await over;
    expect(last().closed).toBe(true);
    expect(heard).toEqual(["stands", "anew"]);
  });
});
