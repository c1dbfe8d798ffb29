import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { keys } from "../api";
import { madeOld, News } from "./news";
import type { Change } from "./socket";

function change(entity: Change["entity"], id: string, conversation: string | null = null, op: Change["op"] = "update"): Change {
  return { seq: 1, entity, id, op, conversation_id: conversation };
}

let cache: QueryClient;
beforeEach(() => {
  vi.useFakeTimers();
  cache = new QueryClient();
});
afterEach(() => {
  cache.clear();
  vi.useRealTimers();
});

describe("a change", () => {
  it("makes old what is of its kind, and what shows it", () => {
    expect(madeOld(change("document", "doc_1"))).toEqual([["documents"], ["projects"], ["text", "doc_1"], ["watches"]]);
    expect(madeOld(change("message", "msg_1", "cnv_1"))).toEqual([["messages", "cnv_1"]]);
    expect(madeOld(change("message", "msg_1", null, "delete"))).toEqual([]);
    expect(madeOld(change("conversation", "cnv_1"))).toEqual([["conversations"], ["messages", "cnv_1"]]);
    expect(madeOld(change("run", "run_1", "cnv_1"))).toEqual([]);
    expect(madeOld(change("watch", "wat_1"))).toEqual([["watches"]]);
    expect(madeOld(change("alert", "alr_1"))).toEqual([["alerts"]]);
  });

  it("is read after what is being read: no read is begun anew by the next change, and the last is seen", async () => {
    // Each change that came while the list was read cancelled the read: under a steady stream none came to its end.
    let truth = 0;
    let whole = 0;
    const looked = new QueryObserver(cache, {
      queryKey: keys.jobs("prj_1"),
      queryFn: async ({ signal }) => {
        const seen = truth;
        await new Promise((resolve) => setTimeout(resolve, 400));
        if (!signal.aborted) whole += 1;
        return seen;
      },
    });
    const shown: unknown[] = [];
    looked.subscribe((result) => shown.push(result.data));
    await vi.advanceTimersByTimeAsync(400);
    const news = new News(cache);
    for (let count = 1; count <= 40; count += 1) {
      truth = count;
      news.tell(change("job", "job_1"));
      await vi.advanceTimersByTimeAsync(50);
    }
    expect(whole).toBeGreaterThan(3);
    expect(whole).toBeLessThan(6);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(shown.at(-1)).toBe(40);
  });

  it("is read though the read of something else hangs, and of the same thing after a while", async () => {
    // One page of the chats that hung held back the news of everything.
    const never = () => new Promise<string>(() => undefined);
    let asked = 0;
    const jobs = new QueryObserver(cache, { queryKey: keys.jobs("prj_1"), queryFn: () => (asked += 1) });
    const chats = new QueryObserver(cache, { queryKey: keys.conversations("prj_1"), queryFn: never, initialData: "old" });
    const leave = [jobs.subscribe(() => undefined), chats.subscribe(() => undefined)];
    await vi.advanceTimersByTimeAsync(0);
    const news = new News(cache);
    news.tell(change("conversation", "cnv_1"));
    await vi.advanceTimersByTimeAsync(200);
    news.tell(change("job", "job_1"));
    await vi.advanceTimersByTimeAsync(200);
    expect(asked).toBe(2);
    chats.setOptions({ queryKey: keys.conversations("prj_1"), queryFn: () => "new" });
    news.tell(change("conversation", "cnv_2"));
    await vi.advanceTimersByTimeAsync(5_500);
    expect(chats.getCurrentResult().data).toBe("new");
    leave.forEach((each) => each());
  });

  it("that deletes a chat takes what is shown of it", async () => {
    cache.setQueryData(keys.messages("cnv_1"), ["a question"]);
    new News(cache).tell(change("conversation", "cnv_1", null, "delete"));
    await vi.advanceTimersByTimeAsync(0);
    expect(cache.getQueryData(keys.messages("cnv_1"))).toBeUndefined();
  });
});
