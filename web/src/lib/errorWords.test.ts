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

  it("say why a file is not in from its code and figures, and keep the server's sentence where it says more", () => {
    const pages = { reason: "it has 30,000 pages; the limit is 20,000", code: "too_many_pages" as const, details: { count: 30_000, limit: 20_000 } };
    expect(reasonWords(pages, es, "es").what).toBe("El archivo tiene 30.000 páginas, diapositivas u hojas; el límite es 20.000.");
    expect(reasonWords(pages, en, "en")).toMatchObject({ what: "The file has 30,000 pages, slides or sheets; the limit is 20,000.", detail: "" });
    const damaged = { reason: "it is damaged: its part 'x' is missing", code: "damaged" as const, details: {} };
    expect(reasonWords(damaged, es, "es")).toEqual({ what: es.reasons.damaged[0], todo: es.reasons.damaged[1], detail: damaged.reason });
    const large = { reason: "x", code: "too_large" as const, details: { limit_bytes: 256_000_000 } };
    expect(reasonWords(large, en, "en").what).toBe("The file is over the limit of 256 MB.");
    expect(reasonWords({ ...large, details: {} }, en, "en").what).toBe("The file is over the limit of ?.");
  });

  it("leave a reason without a code, or with one of a newer server, to the server's sentence", () => {
    for (const code of [null, "toString" as never, "of_next_year" as never]) {
      expect(reasonWords({ reason: "something new", code, details: {} }, es, "es")).toMatchObject({ what: es.reasons.other[0], detail: "something new" });
    }
  });

  it("ask for a password where one would help", () => {
    const asks = (code: never) => needsPassword({ reason: "password", code, details: {} });
    expect(["password_needed", "password_wrong", "encrypted", "damaged"].map((code) => asks(code as never))).toEqual([true, true, false, false]);
  });
});
