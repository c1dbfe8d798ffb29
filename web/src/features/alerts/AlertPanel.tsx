import { type ReactNode, useEffect, useId, useRef, useState } from "react";

import { IconButton } from "@/components/Button";
import { Icon } from "@/components/Icon";
import { ErrorNotice } from "@/components/Notice";
import type { Alert, Silence } from "@/lib/types";
import { useWords } from "@/lib/words";

import { AlertRow } from "./AlertRow";
import { SilenceRow, Ways } from "./Beside";
import { inOrder } from "./firing";
import { useBeside, useFiring } from "./useAlerts";

const LATELY_S = 7 * 86_400;

function Section({ title, children }: { title: string; children: ReactNode }) {
  const id = useId();
  return (
    <section aria-labelledby={id} className="border-t border-line pt-3">
      <h3 id={id} className="px-5 text-xs font-semibold tracking-wide text-faint uppercase">
        {title}
      </h3>
      {children}
    </section>
  );
}

/** What fires now, what ended lately, what is kept quiet. It holds the focus until Escape, the button or a click beside it close it. */
export function AlertPanel({ onClose }: { onClose: () => void }) {
  const t = useWords();
  const firing = useFiring();
  const { ended, silences, channels } = useBeside();
  const [said, say] = useState("");
  const [opened] = useState(() => Date.now() / 1000);
  const box = useRef<HTMLDialogElement>(null);
  const head = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (!box.current?.open) box.current?.showModal();
    head.current?.focus();
  }, []);

  const now = inOrder(firing.data ?? []);
  const lately = (ended.data ?? []).filter((alert) => (alert.resolved_at ?? 0) > opened - LATELY_S);
  const silenceOf = (alert: Alert): Silence | undefined => silences.data?.find((silence) => silence.id === alert.silenced_by);
  const idle = (silences.data ?? []).filter((silence) => !now.some((alert) => alert.silenced_by === silence.id));
  const failed = [firing, ended, silences, channels].find((query) => query.isError && !query.data);

  return (
    <dialog
      ref={box}
      aria-labelledby="alerts-title"
      onClose={onClose}
      onClick={(event) => {
        if (event.target === box.current) box.current.close(); // beside it
      }}
      className="fixed inset-0 m-0 h-dvh max-h-none w-screen max-w-none overflow-hidden bg-surface p-0 text-ink backdrop:bg-black/30 md:inset-auto md:top-2 md:left-[16.5rem] md:h-auto md:max-h-[calc(100dvh-1rem)] md:w-[27rem] md:rounded-2xl md:border md:border-line md:shadow-xl"
    >
      <div className="flex h-full flex-col md:max-h-[calc(100dvh-1rem)]">
        <header className="flex items-center gap-2 py-2 pr-2 pl-5">
          <h2 ref={head} id="alerts-title" tabIndex={-1} className="flex-1 font-semibold outline-none">
            {t.alerts.title}
          </h2>
          <IconButton icon="close" label={t.close} onClick={() => box.current?.close()} />
        </header>
        <div role="status" className="sr-only">
          {said}
        </div>
        <div className="min-h-0 flex-1 overflow-y-auto" role="region" aria-labelledby="alerts-title" tabIndex={0}>
          {failed && (
            <div className="px-5 pb-3">
              <ErrorNotice error={failed.error} onRetry={() => void failed.refetch()} />
            </div>
          )}
          {firing.data && (
            <Section title={t.alerts.now}>
              {now.length === 0 && (
                <p className="flex items-center gap-2 px-5 py-3 text-sm text-muted">
                  <Icon name="check" className="size-5 text-accent" />
                  {t.alerts.none}
                </p>
              )}
              <ul aria-label={t.alerts.now} className="divide-y divide-line">
                {now.map((alert) => (
                  <AlertRow key={alert.id} alert={alert} silence={silenceOf(alert)} say={say} />
                ))}
              </ul>
              {now.length > 0 && <p className="px-5 pb-3 text-xs text-faint">{t.alerts.acknowledgeHint}</p>}
            </Section>
          )}
          {idle.length > 0 && (
            <Section title={t.alerts.silences}>
              <ul aria-label={t.alerts.silences} className="divide-y divide-line">
                {idle.map((silence) => (
                  <SilenceRow key={silence.id} silence={silence} say={say} onGone={() => head.current?.focus()} />
                ))}
              </ul>
            </Section>
          )}
          {lately.length > 0 && (
            <Section title={t.alerts.ended}>
              <ul aria-label={t.alerts.ended} className="divide-y divide-line">
                {lately.map((alert) => (
                  <AlertRow key={alert.id} alert={alert} say={say} />
                ))}
              </ul>
            </Section>
          )}
        </div>
        {channels.data && (
          <footer className="border-t border-line">
            <Ways channels={channels.data} say={say} />
          </footer>
        )}
      </div>
    </dialog>
  );
}
