import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { api, keys } from "@/lib/api";
import { useStanding } from "@/lib/live/Live";
import { pagesOf } from "@/lib/pages";
import type { Document, Job } from "@/lib/types";

/** How often the lists are asked for: while something moves, and while nothing does. */
const BY_CLOCK = { movingMs: 1_000, stillMs: 15_000 };
const BESIDE_SOCKET = { movingMs: 15_000, stillMs: 60_000 };

function moving(document: Document): boolean {
  return document.state === "queued" || document.state === "indexing";
}

function working(job: Job): boolean {
  return job.state === "queued" || job.state === "running";
}

/** The documents of a project with their jobs, as changes are told; without a socket asked again often while any of them moves. */
export function useDocuments(project: string, state: string | null) {
  const cache = useQueryClient();
  const { movingMs, stillMs } = useStanding() ? BESIDE_SOCKET : BY_CLOCK;
  const jobs = useQuery({
    queryKey: keys.jobs(project),
    queryFn: () => api.jobs(project),
    refetchInterval: (query) => (query.state.data?.items.some(working) ? movingMs : stillMs),
  });
  const list = useInfiniteQuery({
    queryKey: [...keys.documents(project), state],
    ...pagesOf((after, leave) => api.documents(project, state, after, leave)),
    refetchInterval: (query) =>
      query.state.data?.pages.some((page) => page.items.some(moving)) || jobs.data?.items.some(working) ? movingMs : stillMs,
  });

  const newest = new Map<string, Job>();
  for (const job of [...(jobs.data?.items ?? [])].sort((a, b) => a.created_at - b.created_at)) {
    if (job.document_id) newest.set(job.document_id, job);
  }
  const changed = () => {
    void cache.invalidateQueries({ queryKey: keys.documents(project) });
    void cache.invalidateQueries({ queryKey: keys.jobs(project) });
    void cache.invalidateQueries({ queryKey: keys.projects });
  };
  const act = useMutation({ mutationFn: (work: () => Promise<unknown>) => work(), onSettled: changed });
  return {
    list,
    documents: list.data?.pages.flatMap((page) => page.items) ?? [],
    bulk: (jobs.data?.items ?? []).filter((job) => job.kind === "jsonl" && job.state !== "done"),
    jobOf: (document: Document) => newest.get(document.id) ?? null,
    changed,
    act,
  };
}
