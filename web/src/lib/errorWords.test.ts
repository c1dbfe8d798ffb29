import { describe, expect, it } from "vitest";

import { ApiError, apiErrorOf } from "./apiError";
import { errorWords, needsPassword, reasonWords } from "./errorWords";
import { catalogues } from "./words";

const { en, es } = catalogues;

describe("errors in words", () => {
  it("come from the envelope's code, in the reader's language", () => {
    const error = apiErrorOf(503, '{"error":{"code":"model_not_ready","message":"language: downloading 34%","progress":0.34}}', "5");
    expect(error).toMatchObject({ code: "model_not_ready", retryAfterS: 5, progress: 0.34, passing: true });
    expect(errorWords(error, es).what).toBe(es.errors.model_not_ready[0]);
    expect(errorWords(error, en).detail).toBe("language: downloading 34%");
  });

  it("come from the status when a proxy answered with a page of its own", () => {
    expect(errorWords(apiErrorOf(502, "<html>Bad Gateway</html>", null), en).what).toBe(en.errors.unavailable[0]);
    expect(errorWords(apiErrorOf(418, "", null), en).what).toBe(en.errors.server_error[0]);
  });

  it("never fail on a code that this page does not know", () => {
    expect(errorWords(new ApiError("toString", 500, "x"), en).what).toBe(en.errors.server_error[0]);
  });

  it("name a file's reason, and keep the server's sentence", () => {
    const kinds: [string, keyof typeof es.errors][] = [
      ["it needs a password: retry with the password", "encrypted"],
      ["it is damaged, or needs more than 2,048 MiB of memory: its parser crashed (SIGSEGV)", "damaged"],
      ["there is no text in it, only pictures: reading scanned pages is not supported yet", "empty"],
      ["an Office file of before 2007 (.doc, .xls, .ppt) is not supported yet; supported are PDF", "unsupported"],
      ["it has 30,000 pages; the limit is 20,000", "toobig"],
      ["cancelled", "cancelled"],
    ];
    for (const [reason, kind] of kinds) expect(reasonWords(reason, es)).toMatchObject({ what: es.errors[kind][0], detail: reason });
    expect(needsPassword("it needs a password: retry with the password")).toBe(true);
    expect(needsPassword("it needs a password: its parts are encrypted; save it without one")).toBe(false);
    expect(reasonWords("something new", es).what).toBe("something new");
  });
});
