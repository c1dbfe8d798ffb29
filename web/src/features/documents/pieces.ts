import { type ApiError, apiErrorOf, unreachable } from "@/lib/apiError";
import { authorization } from "@/lib/http";
import { currentKey, keyRefused } from "@/lib/key";

/** A file of this size or more goes in pieces, so that a break costs a piece and not the file. */
export const PIECED_FROM_BYTES = 8 << 20;

const PIECE_BYTES = 16 << 20; // one request
const STILL_MS = 60_000;

export interface Pieced {
  id: string; // the same for every attempt at this file: begun once
  file: File;
  project: string;
}

/** One attempt, by tus. The next one goes on where it stopped; so does the same file after the page was closed. */
export async function attemptInPieces(pieced: Pieced, tell: (sent: number) => void): Promise<void> {
  const { Upload } = await import("tus-js-client");
  const key = currentKey();
  await new Promise<void>((resolve, reject) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const moved = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        void upload.abort();
        reject(unreachable("no answer"));
      }, STILL_MS);
    };
    const upload = new Upload(pieced.file, {
      endpoint: `/api/projects/${encodeURIComponent(pieced.project)}/uploads`,
      headers: { ...authorization(key), "Idempotency-Key": pieced.id },
      metadata: { filename: pieced.file.name, filetype: pieced.file.type },
      chunkSize: PIECE_BYTES,
      retryDelays: null, // whoever called this tries again
      removeFingerprintOnSuccess: true,
      onProgress: (sent, total) => {
        moved();
        tell(total ? sent / total : 0);
      },
      onSuccess: () => {
        clearTimeout(timer);
        resolve();
      },
      onError: (error) => {
        clearTimeout(timer);
        const failed = errorOf(error);
        if (failed.status === 401) keyRefused(key);
        reject(failed);
      },
    });
    moved();
    void upload
      .findPreviousUploads()
      .catch(() => []) // the browser keeps nothing
      .then(([previous]) => {
        if (previous) upload.resumeFromPreviousUpload(previous);
        upload.start();
      });
  });
}

function errorOf(error: object): ApiError {
  const response = "originalResponse" in error ? (error.originalResponse as { getStatus(): number; getBody(): string; getHeader(name: string): string | undefined } | null) : null;
  if (!response || response.getStatus() === 409) return unreachable("the connection broke, or an older one is still there");
  return apiErrorOf(response.getStatus(), response.getBody(), response.getHeader("Retry-After") ?? null);
}
