import { useRef, useState } from "react";

import { Button } from "@/components/Button";
import { ErrorNotice } from "@/components/Notice";
import { notForThisKey } from "@/lib/apiError";
import { useWords } from "@/lib/words";

import { AddFolder } from "./AddFolder";
import { FolderRow } from "./FolderRow";
import { useWatches } from "./useWatches";

/** The folders whose files are kept as this project's documents. Nothing for a key that may not see them. */
export function WatchedFolders({ project }: { project: string }) {
  const t = useWords();
  const { list, folders, add, remove } = useWatches(project);
  const [naming, setNaming] = useState(false);
  const [said, say] = useState("");
  const opener = useRef<HTMLButtonElement>(null);
  if (list.isPending || notForThisKey(list.error)) return null;

  const close = () => {
    setNaming(false);
    add.reset();
    opener.current?.focus();
  };
  const watch = (path: string) =>
    add.mutate(path, {
      onSuccess: () => {
        close();
        say(t.watches.added(path));
      },
    });
  const stop = (id: string, path: string) =>
    remove.mutate(id, {
      onSuccess: () => {
        opener.current?.focus(); // the row that had it is gone
        say(t.watches.removed(path));
      },
    });

  return (
    <section aria-labelledby="watches" className="space-y-2">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-2">
        <div className="min-w-0 flex-1 basis-60">
          <h2 id="watches" className="text-sm font-medium text-muted">
            {t.watches.title}
          </h2>
          <p className="text-xs text-faint">{t.watches.lead}</p>
        </div>
        <Button ref={opener} icon="folder" aria-expanded={naming} onClick={() => (naming ? close() : setNaming(true))}>
          {t.watches.add}
        </Button>
      </div>
      {naming && <AddFolder busy={add.isPending} error={add.error} onAdd={watch} onClose={close} />}
      <div role="status" className="sr-only">
        {said}
      </div>
      {remove.isError && <ErrorNotice error={remove.error} />}
      {list.isError && !list.data && <ErrorNotice error={list.error} onRetry={() => void list.refetch()} />}
      {folders.length > 0 && (
        <ul aria-label={t.watches.listLabel} className="divide-y divide-line rounded-2xl border border-line bg-surface">
          {folders.map((state) => (
            <FolderRow key={state.watch.id} state={state} onStop={() => stop(state.watch.id, state.watch.path)} />
          ))}
        </ul>
      )}
    </section>
  );
}
