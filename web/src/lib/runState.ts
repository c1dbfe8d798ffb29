import type { Citation, Hit, RunEvent, RunState } from "./types";

/** One answer as its events tell it, folded in order of their sequence numbers. */
export interface RunView {
  seq: number;
  stage: string | null;
  text: string;
  hits: Hit[] | null;
  citations: Citation[] | null;
  again: boolean; // it was interrupted and began again
  progress: number | null; // of the prompt that the model reads, 0 to 1
  detail: string;
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
  again: false,
  progress: null,
  detail: "",
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
      return {
        ...view,
        stage: text(data["stage"]) || view.stage,
        progress: typeof data["progress"] === "number" ? data["progress"] : null,
        detail: text(data["detail"]),
      };
    case "sources":
      return { ...view, hits: (data["hits"] as Hit[] | undefined) ?? [] };
    case "delta":
      return { ...view, text: view.text + text(data["text"]) };
    case "restarted":
      return { ...view, text: "", citations: null, again: data["cause"] !== "withdrawn" };
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

/** The house looked into the documents and says that they do not say; a greeting, which needs none, is no such case. */
export function declined(view: RunView): boolean {
  return view.ended === "done" && view.grounded === false && view.hits !== null;
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
