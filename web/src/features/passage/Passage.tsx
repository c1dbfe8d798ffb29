import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";

import { Button, IconButton } from "@/components/Button";
import { ErrorNotice, Notice } from "@/components/Notice";
import { api, keys } from "@/lib/api";
import { ApiError } from "@/lib/apiError";
import { splitAt } from "@/lib/codePoints";
import type { Span } from "@/lib/url";
import { useWords } from "@/lib/words";

const AROUND = 1_500; // code points shown on either side at first
const STEP = 4_000;

/** A document's text around a span, the span marked and brought into view. */
export function Passage({ span, onClose }: { span: Span; onClose: () => void }) {
  const t = useWords();
  const [before, setBefore] = useState(AROUND);
  const [after, setAfter] = useState(AROUND);
  const start = Math.max(0, span.start - before);
  const end = span.end + after;
  const text = useQuery({
    queryKey: keys.text(span.document, start, end),
    queryFn: () => api.documentText(span.document, start, end),
    placeholderData: keepPreviousData,
    staleTime: 60_000,
  });
  const panel = useRef<HTMLElement>(null);
  const mark = useRef<HTMLElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const shown = text.data !== undefined;

  useEffect(() => {
    const opener = document.activeElement;
    panel.current?.focus({ preventScroll: true });
    return () => {
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus({ preventScroll: true });
    };
  }, []);
  useEffect(() => {
    const found = mark.current;
    if (!shown || !found) return;
    const tall = found.offsetHeight > (box.current?.clientHeight ?? 0); // then its beginning is what is wanted
    found.scrollIntoView({ block: tall ? "start" : "center" });
  }, [shown]);

  const gone = text.error instanceof ApiError && text.error.status === 404;
  const [head, marked, tail] = text.data ? splitAt(text.data.text, span.start - text.data.start, span.end - text.data.start) : ["", "", ""];
  const page = span.page ?? text.data?.page ?? null;

  return (
    <aside
      ref={panel}
      tabIndex={-1}
      aria-labelledby="passage-title"
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
      }}
      className="appear fixed inset-0 z-30 flex flex-col bg-surface outline-none lg:static lg:z-auto lg:w-[26rem] lg:shrink-0 lg:border-l lg:border-line xl:w-[32rem]"
    >
      <header className="flex items-start gap-2 border-b border-line py-3 pr-2 pl-5">
        <div className="min-w-0 flex-1">
          <h2 id="passage-title" className="font-semibold break-words">
            {text.data?.title ?? t.passage.title}
          </h2>
          {page !== null && <p className="text-sm text-muted">{t.page(page)}</p>}
        </div>
        <IconButton icon="close" label={t.close} onClick={onClose} />
      </header>
      <div ref={box} className="min-h-0 flex-1 overflow-y-auto px-5 py-4" tabIndex={0} role="region" aria-labelledby="passage-title">
        {text.isError &&
          (gone ? (
            <Notice tone="warn" icon="warn">
              {t.passage.gone}
            </Notice>
          ) : (
            <ErrorNotice error={text.error} onRetry={() => void text.refetch()} />
          ))}
        {text.isPending && <p className="text-sm text-muted">{t.loading}</p>}
        {text.data && (
          <>
            {text.data.start > 0 && (
              <Button look="bare" className="mb-3" onClick={() => setBefore(before + STEP)}>
                {t.passage.before}
              </Button>
            )}
            <p className="text-[0.95rem] leading-7 break-words whitespace-pre-wrap text-muted">
              {head}
              {marked && (
                <mark ref={mark} aria-label={t.passage.highlighted} className="scroll-mt-4 rounded-sm bg-mark box-decoration-clone py-0.5 text-ink">
                  {marked}
                </mark>
              )}
              {tail}
            </p>
            {text.data.end < text.data.total && (
              <Button look="bare" className="mt-3" onClick={() => setAfter(after + STEP)}>
                {t.passage.after}
              </Button>
            )}
          </>
        )}
      </div>
    </aside>
  );
}
