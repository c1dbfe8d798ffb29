import { get, query, send } from "./http";
import type {
  Alert,
  Channel,
  Conversation,
  Document,
  DocumentText,
  Job,
  Message,
  MessagePosted,
  ModelState,
  Page,
  Project,
  SearchResponse,
  Silence,
  WatchState,
} from "./types";

const id = encodeURIComponent;
const MOST = 50; // pages of a list that is wanted whole

async function whole<T>(page: (after: string | null) => Promise<Page<T>>): Promise<T[]> {
  const items: T[] = [];
  let after: string | null = null;
  for (let count = 0; count < MOST; count += 1) {
    const got: Page<T> = await page(after);
    items.push(...got.items);
    after = got.next;
    if (after === null) break;
  }
  return items;
}

/** Every route that the page uses. */
export const api = {
  models: () => get<ModelState[]>("/api/models"),
  warm: () => send<unknown>("POST", "/api/models/language/warm"),

  projects: () => whole<Project>((after) => get(`/api/projects${query({ limit: 200, after })}`)),
  createProject: (name: string) => send<Project>("POST", "/api/projects", { name }),

  documents: (project: string, state: string | null, after: string | null, leave: AbortSignal) =>
    get<Page<Document>>(`/api/documents${query({ project, state, limit: 50, after })}`, leave),
  deleteDocument: (document: string) => send<unknown>("DELETE", `/api/documents/${id(document)}`),
  documentText: (document: string, start: number, end: number) =>
    get<DocumentText>(`/api/documents/${id(document)}/text${query({ start, end })}`),

  /** Of all projects: they are few. */
  watches: async () => (await get<Page<WatchState>>("/api/watches")).items,
  addWatch: (path: string, project: string) => send<unknown>("POST", "/api/watches", { path, project }),
  removeWatch: (watch: string) => send<unknown>("DELETE", `/api/watches/${id(watch)}`),

  firing: () => whole<Alert>((after) => get(`/api/alerts${query({ state: "firing", limit: 200, after })}`)),
  ended: async (limit: number) => (await get<Page<Alert>>(`/api/alerts${query({ state: "resolved", limit })}`)).items,
  acknowledge: (alert: string) => send<Alert>("POST", `/api/alerts/${id(alert)}/acknowledge`),
  silences: () => get<Silence[]>("/api/silences"),
  silence: (events: string[], labels: Record<string, string>, seconds: number) => send<Silence>("POST", "/api/silences", { events, labels, for_s: seconds }),
  endSilence: (silence: string) => send<unknown>("DELETE", `/api/silences/${id(silence)}`),
  channels: () => get<Channel[]>("/api/channels"),
  testAlerts: () => send<Alert>("POST", "/api/alert-tests"),

  /** The newest, and those in hand: of many that wait, the oldest are read first. */
  jobs: async (project: string): Promise<Page<Job>> => {
    const [newest, running] = await Promise.all(
      [null, "running"].map((state) => get<Page<Job>>(`/api/jobs${query({ project, state, limit: 200 })}`)),
    );
    return { items: [...new Map([...newest!.items, ...running!.items].map((job) => [job.id, job])).values()], next: newest!.next };
  },
  cancelJob: (job: string) => send<Job>("POST", `/api/jobs/${id(job)}/cancel`),
  retryJob: (job: string, password?: string) => send<Job>("POST", `/api/jobs/${id(job)}/retry`, password ? { password } : {}),

  conversations: (project: string, after: string | null, leave: AbortSignal) =>
    get<Page<Conversation>>(`/api/conversations${query({ project, limit: 100, after })}`, leave),
  deleteConversation: (conversation: string) => send<unknown>("DELETE", `/api/conversations/${id(conversation)}`),
  messages: (conversation: string) =>
    whole<Message>((after) => get(`/api/conversations/${id(conversation)}/messages${query({ limit: 200, after })}`)),
  post: (conversation: string, project: string, text: string, edits: string | null = null) =>
    send<MessagePosted>("POST", `/api/conversations/${id(conversation)}/messages`, { text, project, ...(edits ? { edits } : {}) }),
  choose: (message: string) => send<Conversation>("POST", `/api/messages/${id(message)}/choose`),
  regenerate: (message: string) => send<MessagePosted>("POST", `/api/messages/${id(message)}/regenerate`, {}),
  stop: (run: string) => send<unknown>("POST", `/api/runs/${id(run)}/stop`),

  search: (text: string, project: string | null) =>
    send<SearchResponse>("POST", "/api/search", { query: text, k: 10, ...(project ? { project } : {}) }),
};

/** Keys of the query cache, in one place so that a write can name what it changed. */
export const keys = {
  models: ["models"] as const,
  projects: ["projects"] as const,
  allDocuments: ["documents"] as const,
  documents: (project: string) => ["documents", project] as const,
  watches: ["watches"] as const,
  alerts: ["alerts"] as const,
  firing: ["alerts", "firing"] as const,
  ended: ["alerts", "ended"] as const,
  silences: ["alerts", "silences"] as const,
  channels: ["alerts", "channels"] as const,
  allJobs: ["jobs"] as const,
  jobs: (project: string) => ["jobs", project] as const,
  allConversations: ["conversations"] as const,
  conversations: (project: string) => ["conversations", project] as const,
  allMessages: ["messages"] as const,
  messages: (conversation: string) => ["messages", conversation] as const,
  allTexts: ["text"] as const,
  textOf: (document: string) => ["text", document] as const,
  text: (document: string, start: number, end: number) => ["text", document, start, end] as const,
  search: (text: string, project: string | null) => ["search", text, project] as const,
};
