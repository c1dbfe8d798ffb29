import type { InfiniteData, UseInfiniteQueryResult } from "@tanstack/react-query";

/** Fetch one page more of a list; whether it came. A change that is told meanwhile has the list read anew, which ends the fetch: then it is fetched again. */
export async function nextPage<T>(list: UseInfiniteQueryResult<InfiniteData<T>>): Promise<boolean> {
  const before = list.data?.pages.length ?? 0;
  for (;;) {
    const now = await list.fetchNextPage();
    if (now.data && now.data.pages.length > before) return true;
    if (now.isError || !now.hasNextPage) return false;
  }
}
