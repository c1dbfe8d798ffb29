import { ApiError } from "../apiError";
import { post } from "../http";

/** That something of the user's was made, changed or deleted; what it is now is asked of its route. docs/websocket.md */
export interface Change {
  seq: number;
  entity: "project" | "document" | "job" | "conversation" | "message" | "run" | "watch" | "alert";
  id: string;
  op: "insert" | "update" | "delete";
  conversation_id: string | null;
}

export interface Listener {
  onChange: (change: Change) => void;
  /** What was read until now may be old: at the beginning, and after a restore. */
  onAnew: () => void;
  /** Changes are told from now on (true), or no more (false). */
  onStanding: (standing: boolean) => void;
}

/** What it takes from the browser. */
export interface Means {
  ticket: () => Promise<string>;
  open: (ticket: string) => WebSocket;
  random: () => number; // 0 to 1
}

interface Place {
  after?: number;
  origin?: string;
}

type End = "cut" | "forbidden";

const AGAIN_MS = 500; // the first pause at most; each is twice the one before
const SLOWEST_MS = 30_000;
const QUIET_MS = 20_000; // after so long without a word the server is asked for one
const ANSWER_MS = 10_000; // and the socket is given up when it takes longer

const BROWSER: Means = {
  ticket: async () => (await post<{ ticket: string }>("/api/ws-ticket")).ticket,
  open: (ticket) => new WebSocket(`${location.origin.replace("http", "ws")}/ws?ticket=${encodeURIComponent(ticket)}`),
  random: Math.random,
};

/** Follow every change of what is the user's, through broken sockets, each once. Returns when `signal` fired, or when the key may not:
 * one of a single project never may. */
export async function followChanges(to: Listener, signal: AbortSignal, means: Means = BROWSER): Promise<void> {
  const place: Place = {};
  let failures = 0;
  while (!signal.aborted) {
    let least = 0;
    try {
      const ticket = await means.ticket();
      if (signal.aborted) return;
      let stood = false;
      const standing = { ...to, onStanding: () => ((stood = true), (failures = 0), to.onStanding(true)) };
      const end = await connection(means.open(ticket), place, standing, signal);
      if (stood && !signal.aborted) to.onStanding(false);
      if (end === "forbidden") return;
    } catch (error) {
      if (error instanceof ApiError && error.status === 403) return;
      least = ((error as ApiError).retryAfterS ?? 0) * 1000;
    }
    const most = Math.min(SLOWEST_MS, AGAIN_MS * 2 ** failures);
    failures += 1;
    await pause(Math.max(least, most * (0.5 + means.random() / 2)), signal); // pages that a restart cut off don't all come back at once
  }
}

/** One socket, to its end. `place` moves with what is told. */
function connection(socket: WebSocket, place: Place, to: Listener, signal: AbortSignal): Promise<End> {
  return new Promise((resolve) => {
    let timer: ReturnType<typeof setTimeout>;
    const end = (how: End) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", cut);
      socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
      socket.close();
      resolve(how);
    };
    const cut = () => end("cut");
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        socket.send(JSON.stringify({ type: "ping" }));
        timer = setTimeout(cut, ANSWER_MS);
      }, QUIET_MS);
    };
    timer = setTimeout(cut, ANSWER_MS);
    signal.addEventListener("abort", cut);
    socket.onopen = () => socket.send(JSON.stringify({ type: "watch", ...place }));
    socket.onmessage = (said: MessageEvent<string>) => {
      alive();
      const refused = take(JSON.parse(said.data) as Said, place, to);
      if (refused) end(refused);
    };
    socket.onerror = socket.onclose = cut;
  });
}

type Said =
  | { type: "watching"; after: number; origin: string; complete: boolean }
  | { type: "change"; change: Change }
  | { type: "error"; error: { code: string } }
  | { type: "pong" | "closing" };

function take(said: Said, place: Place, to: Listener): End | null {
  if (said.type === "watching") {
    const anew = place.after === undefined || !said.complete;
    place.after = said.after;
    place.origin = said.origin;
    to.onStanding(true);
    if (anew) to.onAnew();
  } else if (said.type === "change") {
    place.after = said.change.seq;
    to.onChange(said.change);
  } else if (said.type === "error") {
    return said.error.code === "forbidden" ? "forbidden" : "cut";
  }
  return null;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const over = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    signal.addEventListener("abort", over);
  });
}
