import type { QueryClient, QueryKey } from "@tanstack/react-query";

import { keys } from "../api";
import type { Change } from "./socket";

const GATHER_MS = 150; // a file of a thousand lines tells a thousand changes
const WAIT_MS = 5_000; // for what is read, at most: a read that hangs is begun anew by the next change

/** What of the cache a change makes old. */
export function madeOld(change: Change): QueryKey[] {
  switch (change.entity) {
    case "project":
      return [keys.projects];
    case "document":
      return [keys.allDocuments, keys.projects, keys.textOf(change.id), keys.watches];
    case "job":
      return [keys.allJobs];
    case "conversation":
      return [keys.allConversations, keys.messages(change.id)]; // another branch of it may be shown now
    case "watch":
      return [keys.watches];
    case "alert":
      return [keys.alerts];
    case "message":
      return change.conversation_id === null ? [] : [keys.messages(change.conversation_id)];
    default:
      return []; // a run is followed by itself
  }
}

const EVERYTHING: readonly QueryKey[] = [keys.projects, keys.allDocuments, keys.allJobs, keys.allConversations, keys.allMessages, keys.allTexts, keys.watches, keys.alerts];

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Has what changed read again, all of a moment at once, and each kind of thing by itself: one whose read hangs holds no other up. What
 * changes while it is read is read after that: a fetch is not begun anew because of the next change, or under a stream of changes none
 * would come to its end. */
export class News {
  private readonly waiting = new Set<string>();
  private readonly busy = new Set<string>();

  constructor(private readonly cache: QueryClient) {}

  tell(change: Change): void {
    if (change.entity === "conversation" && change.op === "delete") void this.cache.resetQueries({ queryKey: keys.messages(change.id) });
    this.old(madeOld(change));
  }

  everything(): void {
    this.old(EVERYTHING);
  }

  private old(which: readonly QueryKey[]): void {
    for (const key of which) void this.spread(key, JSON.stringify(key));
  }

  private async spread(queryKey: QueryKey, name: string): Promise<void> {
    this.waiting.add(name);
    if (this.busy.has(name)) return;
    this.busy.add(name);
    while (this.waiting.has(name)) {
      await pause(GATHER_MS);
      this.waiting.delete(name);
      await Promise.race([this.cache.invalidateQueries({ queryKey }), pause(WAIT_MS)]);
    }
    this.busy.delete(name);
  }
}
