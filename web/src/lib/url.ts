import { useMemo, useSyncExternalStore } from "react";

export type View = "chat" | "documents" | "search";

/** A stretch of a document, in code points of its text. */
export interface Span {
  document: string;
  start: number;
  end: number;
  page: number | null;
}

/** What the address says: one place for filters, so that a link or Back gives the same page. */
export interface Place {
  view: View;
  project: string | null;
  chat: string | null;
  query: string;
  state: string | null;
  passage: Span | null;
}

const MOVED = "perenne:moved";
const VIEWS: readonly View[] = ["chat", "documents", "search"];

function whole(text: string | null): number | null {
  return text !== null && /^\d{1,12}$/.test(text) ? Number(text) : null;
}

export function parsePlace(search: string): Place {
  const given = new URLSearchParams(search);
  const document = given.get("doc");
  const view = VIEWS.find((known) => known === given.get("view")) ?? "chat";
  const start = whole(given.get("from")) ?? 0;
  return {
    view,
    project: given.get("project"),
    chat: given.get("chat"),
    query: given.get("q") ?? "",
    state: given.get("state"),
    passage: document ? { document, start, end: whole(given.get("to")) ?? start, page: whole(given.get("page")) } : null,
  };
}

export function formatPlace(place: Place): string {
  const given = new URLSearchParams();
  if (place.view !== "chat") given.set("view", place.view);
  if (place.project) given.set("project", place.project);
  if (place.chat) given.set("chat", place.chat);
  if (place.query) given.set("q", place.query);
  if (place.state) given.set("state", place.state);
  if (place.passage) {
    given.set("doc", place.passage.document);
    given.set("from", String(place.passage.start));
    given.set("to", String(place.passage.end));
    if (place.passage.page !== null) given.set("page", String(place.passage.page));
  }
  const text = given.toString();
  return text ? `?${text}` : "";
}

/** Go somewhere: what is not named stays. `replace` leaves no step for Back. */
export function go(change: Partial<Place>, replace = false): void {
  const next = location.pathname + formatPlace({ ...parsePlace(location.search), ...change });
  if (next === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", next);
  dispatchEvent(new Event(MOVED));
}

export function usePlace(): Place {
  const search = useSyncExternalStore(
    (tell) => {
      addEventListener("popstate", tell);
      addEventListener(MOVED, tell);
      return () => {
        removeEventListener("popstate", tell);
        removeEventListener(MOVED, tell);
      };
    },
    () => location.search,
  );
  return useMemo(() => parsePlace(search), [search]);
}
