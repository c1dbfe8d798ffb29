import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { api, keys } from "@/lib/api";
import type { Document, Job } from "@/lib/types";

const MOVING_MS = 1_000;
const STILL_MS = 15_000;

function moving(document: Document): boolean {
  return document.state === "queued" || document.state === "indexing";
}

function working(job: Job): boolean {
  return job.state === "queued" || job.state === "running";
}

/** The documents of a project with their jobs; asked again often while any of them moves. */
export function useDocuments(project: string, state: string | null) {
  const cache = useQueryClient();
  const jobs = useQuery({
    queryKey: keys.jobs(project),
    queryFn: () => api.jobs(project),
    refetchInterval: (query) => (query.state.data?.items.some(working) ? MOVING_MS : STILL_MS),
  });
  const list = useInfiniteQuery({
    queryKey: [...keys.documents(project), state],
    queryFn: ({ pageParam }) => api.documents(project, state, pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
    refetchInterval: (query) =>
      query.state.data?.pages.some((page) => page.items.some(moving)) || jobs.data?.items.some(working) ? MOVING_MS : STILL_MS,
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
