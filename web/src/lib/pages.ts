import type { InfiniteData, QueryClient, QueryKey } from "@tanstack/react-query";

import { ApiError } from "./apiError";
import type { Page } from "./types";

const HANGS_MS = 12_000; // after so long a page is given up: nothing else of the list is read before

type Pages<T> = InfiniteData<Page<T>, string | null>;

interface Asked {
  client: QueryClient;
  queryKey: QueryKey;
  pageParam: string | null;
  signal: AbortSignal;
}

/** How a list is read page by page. Read anew, it shows its first page as soon as that is there: one after it that hangs holds no news back. */
export function pagesOf<T extends { id: string }>(read: (after: string | null, signal: AbortSignal) => Promise<Page<T>>) {
  return {
    initialPageParam: null as string | null,
    getNextPageParam: (page: Page<T>) => page.next,
    queryFn: async ({ client, queryKey, pageParam, signal }: Asked): Promise<Page<T>> => {
      const page = await inTime((both) => read(pageParam, both), signal);
      if (pageParam === null && !signal.aborted) client.setQueryData<Pages<T>>(queryKey, (held) => held && withFirst(held, page));
      return page;
    },
  };
}

async function inTime<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), HANGS_MS);
  try {
    return await work(AbortSignal.any([signal, late.signal]));
  } catch (error) {
    if (late.signal.aborted && !signal.aborted) throw new ApiError("deadline_exceeded", 0, `no answer within ${HANGS_MS / 1000} s`);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** The pages with another first one, each thing once: what moved up is not below any more, and what was pushed out is above the rest. */
export function withFirst<T extends { id: string }>(held: Pages<T>, first: Page<T>): Pages<T> {
  const [old, second, ...rest] = held.pages;
  if (old === undefined || second === undefined) return held;
  const end = old.items.findIndex((item) => item.id === first.items.at(-1)?.id);
  const pushedOut = end < 0 ? [] : old.items.slice(end + 1);
  const above = new Set(first.items.map((item) => item.id));
  const below = [{ ...second, items: [...pushedOut, ...second.items] }, ...rest];
  return { ...held, pages: [first, ...below.map((page) => ({ ...page, items: page.items.filter((item) => !above.has(item.id)) }))] };
}
