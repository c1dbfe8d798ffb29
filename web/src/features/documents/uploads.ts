import { useSyncExternalStore } from "react";

import { type ApiError, apiErrorOf, unreachable } from "@/lib/apiError";
import { authorization } from "@/lib/http";
import { newId } from "@/lib/ids";
import { currentKey, keyRefused } from "@/lib/key";

import { attemptInPieces, PIECED_FROM_BYTES } from "./pieces";

/** Files on their way to the server. The list outlives the panel, so that leaving it cancels nothing. */
export interface Upload {
  id: string;
  file: File;
  project: string;
  sent: number; // 0 to 1
  state: "waiting" | "sending" | "failed";
  error: ApiError | null;
}

const AT_ONCE = 2;
const TRIES = 6;
const STILL_MS = 60_000; // an attempt that does not move for so long is given up; the next, under the same id, adds nothing twice

let uploads: readonly Upload[] = [];
let onDone: (project: string) => void = () => undefined;
const listeners = new Set<() => void>();

function put(next: readonly Upload[]): void {
  uploads = next;
  for (const tell of listeners) tell();
}

function change(id: string, part: Partial<Upload>): void {
  put(uploads.map((upload) => (upload.id === id ? { ...upload, ...part } : upload)));
}

function isLines(file: File): boolean {
  return /\.(jsonl|ndjson)$/i.test(file.name);
}

function attempt(upload: Upload): Promise<void> {
  if (upload.file.size < PIECED_FROM_BYTES || isLines(upload.file)) return attemptAtOnce(upload);
  return attemptInPieces(upload, (sent) => change(upload.id, { sent }));
}

/** One attempt. XMLHttpRequest, because fetch can't say how much was sent. */
function attemptAtOnce(upload: Upload): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const route = isLines(upload.file) ? "jsonl" : "documents";
    request.open("POST", `/api/projects/${encodeURIComponent(upload.project)}/${route}`);
    const key = currentKey();
    for (const [name, value] of Object.entries(authorization(key))) request.setRequestHeader(name, value);
    request.setRequestHeader("Idempotency-Key", upload.id); // the same for every attempt: added once
    let timer: ReturnType<typeof setTimeout> | undefined;
    const moved = () => {
      clearTimeout(timer);
      timer = setTimeout(() => request.abort(), STILL_MS);
    };
    request.onloadend = () => clearTimeout(timer);
    request.onabort = () => reject(unreachable("no answer"));
    request.upload.onprogress = (event) => {
      moved();
      if (event.lengthComputable) change(upload.id, { sent: event.loaded / event.total });
    };
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve();
      else {
        if (request.status === 401) keyRefused(key);
        reject(apiErrorOf(request.status, request.responseText, request.getResponseHeader("Retry-After")));
      }
    };
    request.onerror = () => reject(unreachable("the connection broke"));
    const form = new FormData();
    form.append("file", upload.file, upload.file.name);
    moved();
    request.send(form);
  });
}

async function send(upload: Upload): Promise<void> {
  let furthest = 0;
  for (let count = 1; ; count += 1) {
    try {
      await attempt(upload);
      put(uploads.filter((other) => other.id !== upload.id));
      onDone(upload.project);
      return;
    } catch (refused) {
      const error = refused as ApiError;
      const sent = uploads.find((other) => other.id === upload.id)?.sent ?? 0;
      if (upload.file.size >= PIECED_FROM_BYTES && sent > furthest) count = 1; // pieces arrive: it is worth another try
      furthest = Math.max(furthest, sent);
      if (!error.passing || count === TRIES) {
        change(upload.id, { state: "failed", error });
        return;
      }
      change(upload.id, { sent: 0 });
      await new Promise((resolve) => setTimeout(resolve, (error.retryAfterS ?? Math.min(4, 0.3 * 2 ** count)) * 1000));
    }
  }
}

function fill(): void {
  const room = AT_ONCE - uploads.filter((upload) => upload.state === "sending").length;
  for (const upload of uploads.filter((waiting) => waiting.state === "waiting").slice(0, Math.max(0, room))) {
    change(upload.id, { state: "sending", sent: 0, error: null });
    void send(upload).finally(fill);
  }
}

/** Queue files; says how many were left out because they are empty, hidden or could not be read. */
export function addFiles(files: readonly (File | null)[], project: string, done: (project: string) => void): number {
  onDone = done;
  const good = files.filter((file): file is File => file !== null && file.size > 0 && !file.name.startsWith("."));
  put([...uploads, ...good.map((file): Upload => ({ id: newId("cmd"), file, project, sent: 0, state: "waiting", error: null }))]);
  fill();
  return files.length - good.length;
}

export function retryUpload(id: string): void {
  change(id, { state: "waiting", error: null });
  fill();
}

export function dismissUpload(id: string): void {
  put(uploads.filter((upload) => upload.id !== id));
}

export function useUploads(project: string): readonly Upload[] {
  const all = useSyncExternalStore(
    (tell) => {
      listeners.add(tell);
      return () => listeners.delete(tell);
    },
    () => uploads,
  );
  return all.filter((upload) => upload.project === project);
}
