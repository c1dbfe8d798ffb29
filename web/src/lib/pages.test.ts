import { InfiniteQueryObserver, QueryClient } from "@tanstack/react-query";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { ApiError } from "./apiError";
import { pagesOf, withFirst } from "./pages";
import type { Page } from "./types";

interface Item {
  id: string;
}

const page = (ids: string, next: string | null): Page<Item> => ({ items: [...ids].map((id) => ({ id })), next });
const ids = (pages: Page<Item>[] | undefined) => pages?.map((each) => each.items.map((item) => item.id).join(""));

let cache: QueryClient;
beforeEach(() => {
  vi.useFakeTimers();
  cache = new QueryClient({ defaultOptions: { queries: { retry: false } } });
});
afterEach(() => {
  cache.clear();
  vi.useRealTimers();
});

describe("a list of pages", () => {
  it("has each thing once when its first page is another", () => {
    const held = { pages: [page("abc", "c"), page("def", "f"), page("g", null)], pageParams: [null, "c", "f"] };
    expect(ids(withFirst(held, page("xab", "b")).pages)).toEqual(["xab", "cdef", "g"]);
    expect(ids(withFirst(held, page("eab", "b")).pages)).toEqual(["eab", "cdf", "g"]); // one used meanwhile moved up
    expect(ids(withFirst(held, page("bcd", "d")).pages)).toEqual(["bcd", "ef", "g"]); // one was deleted
    expect(ids(withFirst(held, page("xyz", "z")).pages)).toEqual(["xyz", "def", "g"]);
    expect(withFirst({ pages: [page("abc", "c")], pageParams: [null] }, page("x", null)).pages).toHaveLength(1);
  });

  it("shows its first page while one after it hangs, gives that up in time, and lets go of the request", async () => {
    const truth: Record<string, Page<Item>> = { first: page("abc", "c"), c: page("def", null) };
    const left: AbortSignal[] = [];
    let hangs = false;
    const read = (after: string | null, signal: AbortSignal) =>
      after !== null && hangs
        ? new Promise<Page<Item>>((_, reject) => {
            left.push(signal);
            signal.addEventListener("abort", () => reject(new ApiError("unreachable", 0, "aborted")));
          })
        : Promise.resolve(truth[after ?? "first"]!);
    const list = new InfiniteQueryObserver(cache, { queryKey: ["things"], ...pagesOf(read) });
    const leave = list.subscribe(() => undefined);
    const shown = () => ids(list.getCurrentResult().data?.pages);
    await vi.advanceTimersByTimeAsync(0);
    await list.fetchNextPage();
    expect(shown()).toEqual(["abc", "def"]);

    hangs = true;
    truth["first"] = page("xab", "b");
    void cache.invalidateQueries();
    await vi.advanceTimersByTimeAsync(0);
    expect(shown()).toEqual(["xab", "cdef"]);
    truth["first"] = page("yxa", "a");
    void cache.invalidateQueries();
    await vi.advanceTimersByTimeAsync(0);
    expect(shown()).toEqual(["yxa", "bcdef"]);
    expect(left.map((signal) => signal.aborted)).toEqual([true, false]);
    await vi.advanceTimersByTimeAsync(12_000);
    expect(left.map((signal) => signal.aborted)).toEqual([true, true]);
    expect(list.getCurrentResult().error).toMatchObject({ code: "deadline_exceeded", passing: false });
    expect(shown()).toEqual(["yxa", "bcdef"]);

    hangs = false;
    truth["a"] = page("bcdef", null);
    await cache.invalidateQueries();
    expect(shown()).toEqual(["yxa", "bcdef"]);
    expect(list.getCurrentResult().isError).toBe(false);
    leave();
  });
});
