/** Records as the API sends them. Times are seconds since 1970; spans count code points. */

export type DocumentState = "queued" | "indexing" | "indexed" | "refused" | "failed";
export type JobState = "queued" | "running" | "done" | "refused" | "failed" | "cancelled";
export type RunState = "queued" | "running" | "done" | "failed" | "stopped";

export interface Page<T> {
  items: T[];
  next: string | null;
}

export interface Me {
  user: { id: string; name: string };
}

export interface Project {
  id: string;
  name: string;
  documents: number;
  chunks: number;
}

export interface Document {
  id: string;
  title: string;
  filename: string | null;
  size_bytes: number;
  language: string | null;
  pages: number | null;
  chunks: number;
  state: DocumentState;
  reason: string | null;
  created_at: number;
}

export interface Job {
  id: string;
  kind: "document" | "jsonl";
  state: JobState;
  document_id: string | null;
  filename: string | null;
  done: number;
  total: number | null;
  unit: string;
  reason: string | null;
  created_at: number;
}

export interface DocumentText {
  document_id: string;
  title: string;
  start: number;
  end: number;
  total: number;
  text: string;
  page: number | null;
}

export interface Conversation {
  id: string;
  project_id: string | null;
  title: string;
  updated_at: number;
}

export interface Citation {
  number: number;
  document_id: string;
  title: string;
  start: number;
  end: number;
  quote: string;
  page: number | null;
}

export interface Message {
  id: string;
  conversation_id: string;
  role: "system" | "user" | "assistant";
  text: string;
  created_at: number;
  run_id: string | null;
  state: RunState;
  citations: Citation[];
}

export interface MessagePosted {
  question: Message;
  reply: Message;
  run: { id: string; state: RunState };
}

export interface Hit {
  chunk_id: number;
  document_id: string;
  title: string;
  text: string;
  start: number;
  end: number;
  score: number;
  page: number | null;
  heading_path: string[];
}

export interface SearchResponse {
  hits: Hit[];
  parts: string[];
  degraded: string | null;
  took_ms: number;
}

export interface ModelState {
  role: string;
  model_id: string;
  phase: "missing" | "downloading" | "loading" | "ready" | "unloaded" | "failed";
  progress: number | null;
  detail: string;
}

export interface RunEvent {
  run_id: string;
  seq: number;
  kind: string;
  data: Record<string, unknown>;
}
