import { ApiError, apiErrorOf } from "./apiError";
import { authorization } from "./http";
import { currentKey, keyRefused } from "./key";
import { SseParser } from "./sse";
import type { RunEvent } from "./types";

const SILENCE_MS = 6_000; // the server sends a heartbeat every second; twice its promise means the line is dead
const AGAIN_MS = 300;
const SLOWEST_MS = 5_000;

export interface Follower {
  /** Events in order, each once; several may arrive together. */
  onEvents: (events: RunEvent[]) => void;
  /** The line broke (true) or is back (false). */
  onBroken: (broken: boolean) => void;
  /** Asking again can't help: the key or the run is gone. */
  onRefused: (error: ApiError) => void;
}

type Fetch = typeof fetch;

/** Follow a run to its end, through broken connections, resuming by sequence number. Returns when it ended or `signal` fired. */
export async function follow(run: string, to: Follower, signal: AbortSignal, fetcher: Fetch = fetch, again = AGAIN_MS): Promise<void> {
  let last = 0;
  let failures = 0;
  while (!signal.aborted) {
    const quiet = new AbortController();
    const stop = () => quiet.abort();
    signal.addEventListener("abort", stop);
    let timer = setTimeout(stop, SILENCE_MS);
    const key = currentKey();
    try {
      const response = await fetcher(`/api/runs/${encodeURIComponent(run)}/events?after=${last}`, {
        headers: { ...authorization(key), Accept: "text/event-stream" },
        signal: quiet.signal,
        cache: "no-store",
      });
      if (!response.ok || !response.body) throw apiErrorOf(response.status, await response.text(), null);
      const parser = new SseParser();
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        clearTimeout(timer);
        timer = setTimeout(stop, SILENCE_MS);
        if (failures > 0) to.onBroken(false);
        failures = 0;
        const events = parser
          .push(value)
          .map((sent) => JSON.parse(sent.data) as RunEvent)
          .filter((event) => event.kind !== "heartbeat" && event.seq > last);
        if (events.length === 0) continue;
        last = events.at(-1)!.seq;
        to.onEvents(events);
        if (events.some((event) => event.kind === "done" || event.kind === "error")) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && !error.passing && error.status < 500) {
        if (error.status === 401) keyRefused(key);
        to.onRefused(error);
        return;
      }
      failures += 1;
      if (failures > 1) to.onBroken(true); // one break is healed before anybody would notice
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      quiet.abort();
    }
    if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, Math.min(SLOWEST_MS, again * 2 ** Math.min(failures, 5))));
  }
}
