import type { QueryClient, QueryKey } from "@tanstack/react-query";

import { keys } from "../api";
import type { Change } from "./socket";

const GATHER_MS = 150; // a file of a thousand lines tells a thousand changes

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
    case "message":
      return change.conversation_id === null ? [] : [keys.messages(change.conversation_id)];
    default:
      return []; // a run is followed by itself
  }
}

const EVERYTHING: readonly QueryKey[] = [keys.projects, keys.allDocuments, keys.allJobs, keys.allConversations, keys.allMessages, keys.allTexts, keys.watches];

/** Has what changed read again, all of a moment at once. What changes while it is read is read after that: a fetch is never begun anew
 * because of the next change, or under a stream of changes none would come to its end. */
export class News {
  private readonly waiting = new Map<string, QueryKey>();
  private busy = false;

  constructor(private readonly cache: QueryClient) {}

  tell(change: Change): void {
    if (change.entity === "conversation" && change.op === "delete") void this.cache.resetQueries({ queryKey: keys.messages(change.id) });
    this.old(madeOld(change));
  }

  everything(): void {
    this.old(EVERYTHING);
  }

  private old(which: readonly QueryKey[]): void {
    for (const key of which) this.waiting.set(JSON.stringify(key), key);
    void this.spread();
  }

  private async spread(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    while (this.waiting.size > 0) {
      await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
      const which = [...this.waiting.values()];
      this.waiting.clear();
      await Promise.all(which.map((queryKey) => this.cache.invalidateQueries({ queryKey })));
    }
    this.busy = false;
  }
}
