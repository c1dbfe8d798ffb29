import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { addFiles } from "./uploads";

/** A connection that is taken and never moves, until the third attempt. */
class Still {
  static attempts: string[] = [];
  upload: { onprogress?: (event: object) => void } = {};
  onload?: () => void;
  onabort?: () => void;
  onloadend?: () => void;
  status = 202;
  responseText = "";
  open() {}
  setRequestHeader(name: string, value: string) {
    if (name === "Idempotency-Key") Still.attempts.push(value);
  }
  getResponseHeader() {
    return null;
  }
  send() {
    if (Still.attempts.length === 3) queueMicrotask(() => (this.onload?.(), this.onloadend?.()));
  }
  abort() {
    this.onabort?.();
    this.onloadend?.();
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("XMLHttpRequest", Still);
  vi.stubGlobal("localStorage", { getItem: () => null });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("sending a file", () => {
  it("gives up an attempt that does not move, and tries again under the same id", async () => {
    // A connection that hung held its place for ever: after two of them no file was sent any more.
    const done: string[] = [];
    addFiles([new File(["x"], "a.txt")], "prj_1", (project) => done.push(project));
    await vi.advanceTimersByTimeAsync(59_000);
    expect(Still.attempts).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(130_000);
    expect(Still.attempts).toHaveLength(3);
    expect(new Set(Still.attempts).size).toBe(1);
    expect(done).toEqual(["prj_1"]);
  });
});
