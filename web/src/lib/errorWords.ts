import { ApiError } from "./apiError";
import { bytes, number } from "./format";
import type { Document, Job } from "./types";
import type { Language, Words } from "./words";

export interface Said {
  what: string;
  todo: string;
  detail: string;
}

/** What a document or a job tells of its end. */
export type Told = Pick<Document | Job, "reason" | "code" | "details">;

/** An error in words: what happened, and what to do about it. The one place that does so. */
export function errorWords(error: unknown, t: Words): Said {
  if (error instanceof ApiError) return codeWords(error.code, error.message, t);
  const [what, todo] = t.errors.render;
  return { what: what!, todo: todo!, detail: error instanceof Error ? error.message : "" };
}

export function codeWords(code: string, message: string, t: Words): Said {
  const [what, todo] = Object.hasOwn(t.errors, code) ? t.errors[code as keyof Words["errors"]] : t.errors.server_error;
  return { what: what!, todo: todo!, detail: message };
}

/** Codes of which the server's sentence says more than our words: which part, what error, what kind of file. */
const SAYS_MORE: readonly (keyof Words["reasons"])[] = ["unsupported", "damaged", "no_documents", "internal", "other"];

/** Why a file is not in, from its code and figures; the server's own sentence stays as the detail where it says more. */
export function reasonWords(told: Told, t: Words, language: Language): Said {
  const code = told.code !== null && Object.hasOwn(t.reasons, told.code) ? told.code : "other";
  const [what, todo] = t.reasons[code];
  const fill = (text: string) => text.replace(/\{(\w+)\}/g, (_, name: string) => figure(name, told.details[name], language));
  return { what: fill(what!), todo: todo!, detail: SAYS_MORE.includes(code) ? (told.reason ?? "") : "" };
}

function figure(name: string, value: string | number | undefined, language: Language): string {
  if (typeof value !== "number") return value ?? "?";
  return name.endsWith("_bytes") ? bytes(value, language) : number(value, language);
}

/** A password typed here would help. */
export function needsPassword(told: Told): boolean {
  return told.code === "password_needed" || told.code === "password_wrong";
}
