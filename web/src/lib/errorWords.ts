import { ApiError } from "./apiError";
import type { Words } from "./words";

export interface Said {
  what: string;
  todo: string;
  detail: string;
}

type Kind = keyof Words["errors"];

/** Why a file was refused, from the server's English sentence: first match wins. */
const REASONS: readonly [RegExp, Kind][] = [
  [/password|encrypt/i, "encrypted"],
  [/^cancelled/i, "cancelled"],
  [/no text|is empty/i, "empty"],
  [/damaged|not well-formed|nested too deeply/i, "damaged"],
  [/not supported|no kind known/i, "unsupported"],
  [/limit|(takes|took|needs|unpacks to) more than|looks like a bomb/i, "toobig"],
];

function say(kind: Kind, t: Words, detail: string): Said {
  const [what, todo] = t.errors[kind];
  return { what: what!, todo: todo!, detail };
}

function known(code: string, t: Words): code is Kind {
  return Object.hasOwn(t.errors, code);
}

/** An error in words: what happened, and what to do about it. The one place that does so. */
export function errorWords(error: unknown, t: Words): Said {
  if (!(error instanceof ApiError)) return say("render", t, error instanceof Error ? error.message : "");
  return codeWords(error.code, error.message, t);
}

export function codeWords(code: string, message: string, t: Words): Said {
  return say(known(code, t) ? code : "server_error", t, message);
}

/** A file's reason, in the reader's language when it is a known one; the server's own sentence stays as the detail. */
export function reasonWords(reason: string | null, t: Words): Said {
  const text = reason ?? "";
  const kind = REASONS.find(([pattern]) => pattern.test(text))?.[1];
  return kind ? say(kind, t, text) : { what: text || t.errors.server_error[0]!, todo: "", detail: "" };
}

/** A password typed here would help; a file that must be saved without one needs its owner. */
export function needsPassword(reason: string | null): boolean {
  return /password/i.test(reason ?? "") && !/save it without/i.test(reason ?? "");
}
