import { useState } from "react";

import { Button } from "@/components/Button";
import { ConfirmButton } from "@/components/ConfirmButton";
import { Icon } from "@/components/Icon";
import { ProgressBar } from "@/components/ProgressBar";
import { needsPassword, reasonWords, type Told } from "@/lib/errorWords";
import { bytes, number } from "@/lib/format";
import type { Document, DocumentState, Job } from "@/lib/types";
import { go } from "@/lib/url";
import { useLanguage, useWords } from "@/lib/words";

const BADGES: Record<DocumentState, string> = {
  queued: "bg-sunken text-muted",
  indexing: "bg-soft text-accent",
  indexed: "bg-soft text-accent",
  refused: "bg-warn-soft text-warn",
  failed: "bg-danger-soft text-danger",
};

interface Props {
  document: Document;
  job: Job | null;
  onRetry: (password?: string) => void;
  onCancel: () => void;
  onDelete: () => void;
}

export function DocumentRow({ document, job, onRetry, onCancel, onDelete }: Props) {
  const t = useWords();
  const language = useLanguage();
  const open = document.state === "queued" || document.state === "indexing";
  const facts = [
    bytes(document.size_bytes, language),
    ...(document.pages ? [t.documents.pages(document.pages)] : []),
    ...(document.state === "indexed" ? [t.documents.passages(document.chunks)] : []),
  ];
  return (
    <li className="px-4 py-2.5">
      <div className="flex items-center gap-3">
        <Icon name="file" className="size-5 text-faint" />
        <div className="min-w-0 flex-1">
          {document.chunks > 0 ? (
            <button
              type="button"
              aria-label={t.documents.open(document.title)}
              onClick={() => go({ passage: { document: document.id, start: 0, end: 0, page: null } })}
              className="max-w-full rounded text-left font-medium hover:text-accent hover:underline max-sm:line-clamp-2 max-sm:break-words sm:block sm:truncate"
            >
              {document.title}
            </button>
          ) : (
            <p className="font-medium max-sm:line-clamp-2 max-sm:break-words sm:truncate">{document.title}</p>
          )}
          <p className="truncate text-xs text-faint">{facts.join(" · ")}</p>
        </div>
        <span className={`${document.state === "indexing" ? "max-sm:hidden" : ""} shrink-0 rounded-full px-2.5 py-0.5 text-xs font-medium ${BADGES[document.state]}`}>{t.documents.states[document.state]}</span>
        {open && job && (
          <Button look="bare" aria-label={t.documents.stopOf(document.title)} onClick={onCancel}>
            {t.documents.stop}
          </Button>
        )}
        <ConfirmButton label={t.documents.remove(document.title)} question={t.documents.confirm} onConfirm={onDelete} />
      </div>
      {document.state === "indexing" && <Indexing name={document.title} job={job} />}
      {(document.state === "refused" || document.state === "failed") && <Refusal told={document} onRetry={job ? onRetry : null} />}
    </li>
  );
}

export function Indexing({ name, job }: { name: string; job: Job | null }) {
  const t = useWords();
  const language = useLanguage();
  const known = job !== null && job.total !== null && job.total > 0;
  const count = (value: number) => (job?.unit === "bytes" ? bytes(value, language) : number(value, language));
  const unit = t.documents.units[(job?.unit ?? "chunks") as keyof typeof t.documents.units] ?? t.documents.units.bytes;
  const said = known ? t.documents.indexingOf(count(job.done), unit(count(job.total!))) : `${t.documents.states.indexing}…`;
  return (
    <div className="mt-2 space-y-1 pl-8">
      <p className="text-xs text-muted">{said}</p>
      <ProgressBar value={known ? job.done / job.total! : null} label={`${name}: ${said}`} />
    </div>
  );
}

export function Refusal({ told, onRetry }: { told: Told; onRetry: ((password?: string) => void) | null }) {
  const t = useWords();
  const language = useLanguage();
  const [password, setPassword] = useState("");
  const said = reasonWords(told, t, language);
  return (
    <div className="mt-1 flex flex-wrap items-center gap-x-3 gap-y-2 pl-8">
      <p className="min-w-0 flex-1 basis-60 text-sm text-muted">
        <span className="text-ink">{said.what}</span> {said.todo}
        {said.detail && <span lang="en" className="block text-xs break-words text-faint">{said.detail}</span>}
      </p>
      {onRetry &&
        (needsPassword(told) ? (
          <form
            className="flex min-w-0 flex-wrap gap-2 max-sm:w-full"
            onSubmit={(event) => {
              event.preventDefault();
              if (password) onRetry(password);
            }}
          >
            <input
              type="password"
              autoComplete="off"
              value={password}
              onChange={(event) => setPassword(event.target.value)}
              aria-label={t.documents.password}
              placeholder={t.documents.password}
              className="h-9 w-56 min-w-0 rounded-lg max-sm:flex-1 border border-line bg-surface px-2.5 text-sm placeholder:text-faint"
            />
            <Button type="submit" disabled={!password}>
              {t.documents.unlock}
            </Button>
          </form>
        ) : (
          <Button icon="retry" onClick={() => onRetry()}>
            {t.documents.retry}
          </Button>
        ))}
    </div>
  );
}
