import { useState } from "react";

import { Button } from "@/components/Button";
import { ErrorNotice, Notice } from "@/components/Notice";
import { ApiError } from "@/lib/apiError";
import { useWords, type Words } from "@/lib/words";

function refusal(error: unknown, t: Words): string[] | null {
  if (!(error instanceof ApiError)) return null;
  if (error.code === "conflict") return t.watches.same;
  return error.code === "invalid_request" ? t.watches.refused : null;
}

interface Props {
  busy: boolean;
  error: unknown;
  onAdd: (path: string) => void;
  onClose: () => void;
}

/** Where a folder of the server's is named by its path. */
export function AddFolder({ busy, error, onAdd, onClose }: Props) {
  const t = useWords();
  const [path, setPath] = useState("");
  const why = refusal(error, t);
  return (
    <form
      className="appear space-y-2"
      onSubmit={(event) => {
        event.preventDefault();
        if (path.trim() && !busy) onAdd(path.trim());
      }}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        onClose();
      }}
    >
      <div className="flex flex-wrap gap-2">
        <input
          autoFocus
          value={path}
          maxLength={4_096}
          spellCheck={false}
          autoCapitalize="off"
          autoComplete="off"
          onChange={(event) => setPath(event.target.value)}
          aria-label={t.watches.path}
          aria-invalid={why !== null}
          aria-describedby={why ? "folder-refused" : undefined}
          placeholder={`${t.watches.path}: ${t.watches.example}`}
          className="h-9 min-w-0 flex-1 basis-60 rounded-lg max-sm:basis-full border border-line bg-surface px-2.5 text-sm placeholder:text-faint"
        />
        <Button type="submit" look="primary" disabled={!path.trim()}>
          {t.watches.save}
        </Button>
        <Button onClick={onClose}>{t.cancel}</Button>
      </div>
      {why && (
        <div role="alert" id="folder-refused">
          <Notice tone="danger" icon="warn">
            <strong className="font-semibold">{why[0]}</strong> {why[1]}
            <span lang="en" className="block text-xs break-words">
              {(error as ApiError).message}
            </span>
          </Notice>
        </div>
      )}
      {error !== null && !why && <ErrorNotice error={error} />}
    </form>
  );
}
