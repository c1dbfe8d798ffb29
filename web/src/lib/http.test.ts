import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { ApiError } from "./apiError";
import { check } from "./http";

beforeEach(() => vi.stubGlobal("localStorage", { getItem: () => null, setItem: () => undefined, removeItem: () => undefined }));
afterEach(() => vi.unstubAllGlobals());

describe("asking whether a key is known", () => {
  it("waits for no server for ever", async () => {
    // The sign-in waited without end for a server that took the connection and said nothing.
    let signal: AbortSignal | null | undefined;
    vi.spyOn(AbortSignal, "timeout").mockImplementation(() => AbortSignal.abort(new Error("too late")));
    vi.stubGlobal("fetch", (_: string, init: RequestInit) => {
      signal = init.signal;
      return signal?.aborted ? Promise.reject(signal.reason as Error) : new Promise(() => undefined);
    });
    const refused = check("pk_1").catch((error: unknown) => error as ApiError);
    expect(signal?.aborted).toBe(true);
    expect(await refused).toMatchObject({ code: "unreachable" });
  });
});
