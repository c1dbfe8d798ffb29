import type { Citation, Hit, RunEvent, RunState } from "./types";

/** One answer as its events tell it, folded in order of their sequence numbers. */
export interface RunView {
  seq: number;
  stage: string | null;
  text: string;
  hits: Hit[] | null;
  citations: Citation[] | null;
  attempt: number;
  ended: RunState | null;
  grounded: boolean | null;
  finish: string | null;
  error: { code: string; message: string } | null;
}

export const NO_EVENTS: RunView = {
  seq: 0,
  stage: null,
  text: "",
  hits: null,
  citations: null,
  attempt: 1,
  ended: null,
  grounded: null,
  finish: null,
  error: null,
};

const STATES: readonly RunState[] = ["done", "failed", "stopped"];

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function fold(view: RunView, event: RunEvent): RunView {
  const data = event.data;
  switch (event.kind) {
    case "status":
      return { ...view, stage: text(data["stage"]) || view.stage };
    case "sources":
      return { ...view, hits: (data["hits"] as Hit[] | undefined) ?? [] };
    case "delta":
      return { ...view, text: view.text + text(data["text"]) };
    case "restarted":
      return { ...view, text: "", citations: null, attempt: Number(data["attempt"] ?? view.attempt + 1) };
    case "citations":
      return { ...view, citations: (data["citations"] as Citation[] | undefined) ?? [], text: text(data["text"]) || view.text };
    case "done":
      return {
        ...view,
        ended: STATES.find((state) => state === data["state"]) ?? "done",
        text: text(data["text"]) || view.text,
        citations: (data["citations"] as Citation[] | undefined) ?? view.citations,
        grounded: typeof data["grounded"] === "boolean" ? data["grounded"] : null,
        finish: text(data["finish_reason"]) || null,
      };
    case "error":
      return { ...view, ended: "failed", error: { code: text(data["code"]) || "error", message: text(data["message"]) } };
    default:
      return view; // a kind of a newer server, or a step's log
  }
}

/** Apply events; what was seen already is skipped, so that a resumed stream is never doubled. */
export function apply(view: RunView, events: readonly RunEvent[]): RunView {
  let next = view;
  for (const event of events) {
    if (event.kind === "heartbeat" || event.seq <= next.seq) continue;
    next = { ...fold(next, event), seq: event.seq };
  }
  return next;
}
