import { type ApiError, apiErrorOf, unreachable } from "./apiError";
import { newId } from "./ids";
import { currentKey, keyRefused } from "./key";

const PATIENCE_MS = 15_000; // how long one write is tried, under one id, while the server is away
const READ_MS = 30_000;

export function authorization(key = currentKey()): Record<string, string> {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function once<T>(method: string, path: string, body: unknown, headers: Record<string, string>, leave?: AbortSignal): Promise<T> {
  let response: Response;
  const key = currentKey();
  try {
    response = await fetch(path, {
      method,
      headers: { ...authorization(key), ...headers, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      body: body === undefined ? null : JSON.stringify(body),
      signal: leave ? AbortSignal.any([leave, AbortSignal.timeout(READ_MS)]) : AbortSignal.timeout(READ_MS),
      cache: "no-store",
    });
  } catch (cause) {
    throw unreachable(cause);
  }
  const text = await response.text().catch((cause: unknown) => {
    throw unreachable(cause);
  });
  if (response.ok) return (text ? JSON.parse(text) : undefined) as T;
  if (response.status === 401) keyRefused(key);
  throw apiErrorOf(response.status, text, response.headers.get("Retry-After"));
}

/** Whether the server knows a key that is not stored yet: refused, or not. */
export async function check(key: string): Promise<void> {
  const asked = fetch("/api/me", { headers: authorization(key), cache: "no-store", signal: AbortSignal.timeout(READ_MS) });
  const response = await asked.catch((cause: unknown) => {
    throw unreachable(cause);
  });
  if (!response.ok) throw apiErrorOf(response.status, await response.text(), response.headers.get("Retry-After"));
}

/** A read; given up when `leave` fires. */
export function get<T>(path: string, leave?: AbortSignal): Promise<T> {
  return once<T>("GET", path, undefined, {}, leave);
}

/** A request that changes nothing worth an id: tried once. */
export function post<T>(path: string): Promise<T> {
  return once<T>("POST", path, undefined, {});
}

/** A write: sent again under the same id while the server is away, so that it happens once. */
export async function send<T>(method: "POST" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<T> {
  const headers = { "Idempotency-Key": newId("cmd") };
  const until = Date.now() + PATIENCE_MS;
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await once<T>(method, path, body, headers);
    } catch (error) {
      const passing = (error as ApiError).passing === true && (error as ApiError).code !== "model_not_ready";
      const wait = ((error as ApiError).retryAfterS ?? Math.min(2, 0.2 * 2 ** attempt)) * 1000;
      if (!passing || Date.now() + wait > until) throw error;
      await pause(wait);
    }
  }
}

/** `?a=1&b=2` of what is given. */
export function query(given: Record<string, string | number | null | undefined>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) if (value !== null && value !== undefined && value !== "") params.set(name, String(value));
  const text = params.toString();
  return text ? `?${text}` : "";
}
