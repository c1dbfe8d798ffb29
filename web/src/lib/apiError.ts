/** What the server, or the way to it, refused with. `code` is the server's stable one, or "unreachable". */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    readonly status: number,
    message: string,
    readonly retryAfterS: number | null = null,
    readonly progress: number | null = null,
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** The same request, under the same id, may succeed in a moment. */
  get passing(): boolean {
    return this.code === "unreachable" || [429, 502, 503, 504].includes(this.status);
  }
}

/** What was asked for is the owner's alone, and this key is not one of all that is theirs. */
export function notForThisKey(error: unknown): boolean {
  return error instanceof ApiError && error.status === 403;
}

const CODES: Record<number, string> = {
  400: "invalid_request",
  401: "unauthorized",
  403: "forbidden",
  404: "not_found",
  409: "conflict",
  413: "too_large",
  422: "invalid_request",
  429: "rate_limited",
  502: "unavailable",
  503: "unavailable",
  504: "deadline_exceeded",
};

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/** An unsuccessful answer as an error; anything that is not our envelope still becomes one. */
export function apiErrorOf(status: number, body: string, retryAfter: string | null): ApiError {
  let envelope: Record<string, unknown> = {};
  try {
    envelope = record(record(JSON.parse(body))["error"]);
  } catch {
    // a proxy's own page: the status says enough
  }
  const code = typeof envelope["code"] === "string" ? envelope["code"] : (CODES[status] ?? "server_error");
  const message = typeof envelope["message"] === "string" ? envelope["message"] : "";
  const wait = retryAfter !== null && /^\d+(\.\d+)?$/.test(retryAfter) ? Number(retryAfter) : null;
  const progress = typeof envelope["progress"] === "number" ? envelope["progress"] : null;
  return new ApiError(code, status, message, wait, progress);
}

export function unreachable(cause: unknown): ApiError {
  return new ApiError("unreachable", 0, cause instanceof Error ? cause.message : String(cause));
}
