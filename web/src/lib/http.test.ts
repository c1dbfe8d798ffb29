import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { ApiError } from "./apiError";
import { check, get } from "./http";

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

describe("a key that the server no longer knows", () => {
  it("is signed out of, unless another one was taken up while the answer came", async () => {
    // The late refusal of an old key signed out who had just signed in with a new one.
    let held: string | null = "pk_old";
    vi.stubGlobal("localStorage", { getItem: () => held, setItem: (_: string, value: string) => (held = value), removeItem: () => (held = null) });
    const refuse = (meanwhile: () => void) =>
      vi.stubGlobal("fetch", () => {
        meanwhile();
        return Promise.resolve(new Response("{}", { status: 401 }));
      });
    refuse(() => (held = "pk_new"));
    await expect(get("/api/projects")).rejects.toMatchObject({ code: "unauthorized" });
    expect(held).toBe("pk_new");
    refuse(() => undefined);
    await expect(get("/api/projects")).rejects.toMatchObject({ code: "unauthorized" });
    expect(held).toBeNull();
  });
});
