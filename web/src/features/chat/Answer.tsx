import { useMutation } from "@tanstack/react-query";
import { useCallback, useEffect, useEffectEvent, useRef, useState } from "react";

import { Button } from "@/components/Button";
import { Markdown } from "@/components/Markdown";
import { ErrorNotice, Notice } from "@/components/Notice";
import { api } from "@/lib/api";
import { codeWords } from "@/lib/errorWords";
import { declined, type RunView } from "@/lib/runState";
import type { Citation, Hit, Message } from "@/lib/types";
import { go } from "@/lib/url";
import { useWords, type Words } from "@/lib/words";

import { Sources } from "./Sources";
import { useRun } from "./useRun";

const STAGES: Record<string, keyof Words["chat"]["stages"]> = {
  queued: "waiting",
  resumed: "resumed",
  planning: "thinking",
  searching: "searching",
  model: "model",
  reading: "reading",
  writing: "writing",
};

function stageWords(view: RunView, t: Words): string {
  const said = t.chat.stages[(view.stage && STAGES[view.stage]) || "thinking"];
  return view.progress === null ? said : `${said} ${Math.round(view.progress * 100)} %`;
}

function openPassage(at: Citation | Hit): void {
  go({ passage: { document: at.document_id, start: at.start, end: at.end, page: at.page } });
}

/** Passage n: the one cited, once that is settled; while it is written, the n-th source. */
function sourceOf(number: number, citations: readonly Citation[] | null, hits: readonly Hit[] | null): Citation | Hit | null {
  return citations?.find((citation) => citation.number === number) ?? hits?.[number - 1] ?? null;
}

interface Props {
  message: Message;
  last: boolean;
  onEnded: () => void;
  onAgain: () => void;
}

/** One answer: written while its run goes, at rest afterwards. */
export function Answer({ message, last, onEnded, onAgain }: Props) {
  const t = useWords();
  const settled = message.state === "done" && message.citations.length > 0;
  const { view, broken, refused } = useRun(settled ? null : message.run_id);
  const stored = message.state === "done" || message.state === "stopped";
  const kept = stored || message.state === "failed"; // its text is whole: a replay of its events adds nothing
  const text = kept ? message.text || view.text : view.text || message.text;
  const going = !kept && view.ended === null && refused === null;
  const citations = view.citations ?? (message.citations.length > 0 ? message.citations : null);
  const hits = view.hits;
  const state = view.ended ?? message.state;

  const ended = useEffectEvent(onEnded);
  const wasOpen = useRef(message.state === "queued" || message.state === "running");
  useEffect(() => {
    if (view.ended !== null && wasOpen.current) {
      wasOpen.current = false;
      ended();
    }
  }, [view.ended]);

  const cited = useCallback(
    (number: number) => {
      const source = sourceOf(number, citations, hits);
      return source && { label: t.chat.cite(number, source.title), open: () => openPassage(source) };
    },
    [citations, hits, t],
  );

  return (
    <article aria-busy={going} className="space-y-3">
      {hits && hits.length > 0 && <Sources hits={hits} open={going} onOpen={openPassage} />}
      {view.again && !declined(view) && (
        <Notice tone="calm" icon="retry">
          {t.chat.again}
        </Notice>
      )}
      {text && <Markdown text={text} cited={cited} />}
      {declined(view) && <Declined />}
      {going && !text && (
        <p className="flex items-center gap-2 text-sm text-muted">
          <span className="size-2 animate-pulse rounded-full bg-accent" />
          {stageWords(view, t)}
        </p>
      )}
      {broken && going && (
        <Notice tone="warn" icon="warn">
          {t.chat.broken}
        </Notice>
      )}
      <Ending state={state} view={view} />
      {refused && <ErrorNotice error={refused} />}
      {!going && citations && citations.length > 0 && <Cited citations={citations} />}
      {!going && <Actions message={message} text={text} last={last} onAgain={onAgain} />}
    </article>
  );
}

function Declined() {
  const t = useWords();
  return (
    <Notice tone="calm" icon="search">
      <strong className="font-semibold">{t.chat.declined}.</strong> {t.chat.declinedDo}
    </Notice>
  );
}

function Ending({ state, view }: { state: Message["state"]; view: RunView }) {
  const t = useWords();
  if (state === "stopped") return <p className="text-sm text-faint">{t.chat.stopped}</p>;
  if (view.finish === "length") return <p className="text-sm text-faint">{t.chat.cut}</p>;
  if (state !== "failed") return null;
  const said = codeWords(view.error?.code ?? "server_error", view.error?.message ?? "", t);
  return (
    <div role="alert">
      <Notice tone="danger" icon="warn">
        <strong className="font-semibold">{said.what}</strong> {said.todo}
        {said.detail && <span className="block text-xs break-words">{said.detail}</span>}
      </Notice>
    </div>
  );
}

/** The settled citations, one line a number. */
function Cited({ citations }: { citations: Citation[] }) {
  const t = useWords();
  const once = [...new Map(citations.map((citation) => [citation.number, citation])).values()].sort((a, b) => a.number - b.number);
  return (
    <ul aria-label={t.chat.cited} className="flex flex-wrap gap-1.5">
      {once.map((citation) => (
        <li key={citation.number} className="min-w-0">
          <button
            type="button"
            onClick={() => openPassage(citation)}
            title={citation.quote}
            className="flex max-w-72 items-center gap-1.5 rounded-lg border border-line bg-surface px-2 py-1 text-xs text-muted hover:border-accent hover:text-ink"
          >
            <span className="font-semibold text-accent">{citation.number}</span>
            <span className="truncate">{citation.title}</span>
            {citation.page !== null && <span className="shrink-0">· {t.page(citation.page)}</span>}
          </button>
        </li>
      ))}
    </ul>
  );
}

function Actions({ message, text, last, onAgain }: { message: Message; text: string; last: boolean; onAgain: () => void }) {
  const t = useWords();
  const [copied, setCopied] = useState(false);
  const again = useMutation({ mutationFn: () => api.regenerate(message.id), onSuccess: onAgain });
  return (
    <div className="-ml-3 flex flex-wrap items-center">
      {text && navigator.clipboard && (
        <Button
          look="bare"
          icon={copied ? "check" : "copy"}
          onClick={() => {
            navigator.clipboard.writeText(text).then(
              () => {
                setCopied(true);
                setTimeout(() => setCopied(false), 2000);
              },
              () => undefined, // the browser's owner said no; nothing was copied, and nothing says so
            );
          }}
        >
          {copied ? t.chat.copied : t.chat.copy}
        </Button>
      )}
      {last && (
        <Button look="bare" icon="retry" disabled={again.isPending} onClick={() => again.mutate()}>
          {t.chat.regenerate}
        </Button>
      )}
      {again.isError && <ErrorNotice error={again.error} />}
    </div>
  );
}
