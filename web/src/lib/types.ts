/** Records as the API sends them, out of its own document (`npm run types`). Times are seconds since 1970; spans count code points. */
import type { components } from "./schema";

type Schemas = components["schemas"];

/** The server leaves no field of an answer out: what has a default is there too. */
type Whole<T> = T extends (infer U)[] ? Whole<U>[] : T extends object ? { [K in keyof T]-?: Whole<T[K]> } : T;

export type Project = Whole<Schemas["Project"]>;
export type Document = Whole<Schemas["Document"]>;
export type DocumentState = Document["state"];
export type DocumentText = Whole<Schemas["DocumentText"]>;
export type WatchState = Whole<Schemas["WatchState"]>;
export type Job = Whole<Schemas["JobView"]>;
export type Alert = Whole<Schemas["Alert"]>;
export type Severity = Alert["severity"];
export type Silence = Whole<Schemas["Silence"]>;
export type Channel = Whole<Schemas["Channel"]>;
export type Conversation = Whole<Schemas["Conversation"]>;
export type Message = Whole<Schemas["Message"]>;
export type MessagePosted = Whole<Schemas["MessagePosted"]>;
export type RunState = Message["state"];
export type Citation = Whole<Schemas["Citation"]>;
export type Hit = Whole<Schemas["Hit"]>;
export type SearchResponse = Whole<Schemas["SearchResponse"]>;
export type ModelState = Whole<Schemas["ModelState"]>;

export interface Page<T> {
  items: T[];
  next: string | null;
}

/** One event of a run's stream, which OpenAPI can't describe: see `RunEvent` in perenne/messages/records.py. */
export interface RunEvent {
  run_id: string;
  seq: number;
  kind: string;
  data: Record<string, unknown>;
}
