import { useState } from "react";

import { Button } from "@/components/Button";
import { Icon } from "@/components/Icon";
import { ErrorNotice } from "@/components/Notice";
import { api } from "@/lib/api";
import { nextPage } from "@/lib/nextPage";
import type { DocumentState, Job, Project } from "@/lib/types";
import { go } from "@/lib/url";
import { useWords } from "@/lib/words";

import { DocumentRow, Indexing, Refusal } from "./DocumentRow";
import { DropZone } from "./DropZone";
import { UploadRow } from "./UploadRow";
import { addFiles, useUploads } from "./uploads";
import { useDocuments } from "./useDocuments";
import { WatchedFolders } from "./WatchedFolders";

const STATES: readonly DocumentState[] = ["indexed", "indexing", "queued", "refused", "failed"];

/** A job's state where a list of documents is asked for by theirs. */
const AS_DOCUMENT: Partial<Record<Job["state"], DocumentState>> = { queued: "queued", running: "indexing", refused: "refused", failed: "failed", cancelled: "failed" };

export function Documents({ project, state: asked }: { project: Project; state: string | null }) {
  const t = useWords();
  const state = STATES.find((known) => known === asked) ?? null; // an address may say anything
  const uploads = useUploads(project.id);
  const { list, documents, bulk: lines, jobOf, changed, act } = useDocuments(project.id, state);
  const bulk = lines.filter((job) => state === null || AS_DOCUMENT[job.state] === state);
  const [skipped, setSkipped] = useState(0);
  const nothing = list.isSuccess && documents.length === 0 && uploads.length === 0 && bulk.length === 0;

  return (
    <div className="mx-auto w-full max-w-3xl space-y-5 px-4 py-6">
      <div>
        <h1 className="text-xl font-semibold tracking-tight">{t.documents.title}</h1>
        <p className="text-sm text-muted">{t.documents.lead}</p>
      </div>
      <DropZone onFiles={(files) => setSkipped(addFiles(files, project.id, changed))} />
      <WatchedFolders project={project.id} />
      <div role="status">{skipped > 0 && <p className="text-sm text-muted">{t.documents.skipped(skipped)}</p>}</div>
      {act.isError && <ErrorNotice error={act.error} />}
      {uploads.length > 0 && (
        <section aria-labelledby="uploads">
          <h2 id="uploads" className="mb-2 text-sm font-medium text-muted">
            {t.documents.uploads}
          </h2>
          <ul className="divide-y divide-line rounded-2xl border border-line bg-surface">
            {uploads.map((upload) => (
              <UploadRow key={upload.id} upload={upload} />
            ))}
          </ul>
        </section>
      )}
      {(state !== null || documents.length > 0 || bulk.length > 0) && <StateFilter chosen={state} />}
      {list.isError && <ErrorNotice error={list.error} onRetry={() => void list.refetch()} />}
      {list.isPending && <p className="text-sm text-muted">{t.loading}</p>}
      {nothing && <p className="py-4 text-center text-muted">{state === null ? t.documents.none : t.documents.noneState}</p>}
      {(documents.length > 0 || bulk.length > 0) && (
        <ul aria-label={t.documents.listLabel} className="divide-y divide-line rounded-2xl border border-line bg-surface">
          {bulk.map((job) => (
            <BulkRow key={job.id} job={job} onRetry={() => act.mutate(() => api.retryJob(job.id))} onCancel={() => act.mutate(() => api.cancelJob(job.id))} />
          ))}
          {documents.map((document) => {
            const job = jobOf(document);
            return (
              <DocumentRow
                key={document.id}
                document={document}
                job={job}
                onRetry={(password) => job && act.mutate(() => api.retryJob(job.id, password))}
                onCancel={() => job && act.mutate(() => api.cancelJob(job.id))}
                onDelete={() => act.mutate(() => api.deleteDocument(document.id))}
              />
            );
          })}
        </ul>
      )}
      {list.hasNextPage && (
        <Button disabled={list.isFetchingNextPage} onClick={() => void nextPage(list)}>
          {t.more}
        </Button>
      )}
    </div>
  );
}

function StateFilter({ chosen }: { chosen: string | null }) {
  const t = useWords();
  return (
    <div role="group" aria-label={t.documents.filter} className="flex flex-wrap gap-1.5">
      {[null, ...STATES].map((state) => (
        <button
          key={state ?? "all"}
          type="button"
          aria-pressed={chosen === state}
          onClick={() => go({ state }, true)}
          className={`rounded-full border px-3 py-1 text-sm ${chosen === state ? "border-accent bg-soft font-medium text-accent" : "border-line text-muted hover:text-ink"}`}
        >
          {state === null ? t.documents.all : t.documents.states[state]}
        </button>
      ))}
    </div>
  );
}

/** A file of JSON lines: many documents under one job. */
function BulkRow({ job, onRetry, onCancel }: { job: Job; onRetry: () => void; onCancel: () => void }) {
  const t = useWords();
  const name = job.filename ?? t.documents.lines;
  const over = job.state === "failed" || job.state === "refused" || job.state === "cancelled";
  return (
    <li className="px-4 py-2.5">
      <div className="flex items-center gap-3">
        <Icon name="file" className="size-5 text-faint" />
        <p className="min-w-0 flex-1 truncate font-medium">{name}</p>
        {!over && (
          <Button look="bare" aria-label={t.documents.stopOf(name)} onClick={onCancel}>
            {t.documents.stop}
          </Button>
        )}
      </div>
      {over ? <Refusal told={job} onRetry={onRetry} /> : <Indexing name={name} job={job} />}
    </li>
  );
}
