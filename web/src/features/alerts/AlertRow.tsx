import { useRef } from "react";

import { Button } from "@/components/Button";
import { ErrorNotice } from "@/components/Notice";
import { api } from "@/lib/api";
import { moment } from "@/lib/format";
import type { Alert, Severity, Silence } from "@/lib/types";
import { useLanguage, useWords, type Words } from "@/lib/words";

import { useAct } from "./useAlerts";

const LENGTHS_S = { hour: 3_600, day: 86_400 };
const BADGES: Record<Severity, string> = {
  critical: "bg-danger-soft text-danger",
  warning: "bg-warn-soft text-warn",
  info: "bg-soft text-accent",
  debug: "bg-sunken text-muted",
};

/** The instance's own words, which are English; what stands between backticks is something to type. */
function Own({ words }: { words: string }) {
  const parts = words.split("`");
  if (parts.length % 2 === 0) return <span lang="en">{words}</span>;
  return (
    <span lang="en">
      {parts.map((part, index) =>
        index % 2 === 1 ? (
          <code key={index} className="rounded bg-sunken px-1 py-0.5 text-[0.85em]">
            {part}
          </code>
        ) : (
          part
        ),
      )}
    </span>
  );
}

interface Deed {
  label: string;
  work: () => Promise<unknown>;
  said: string;
}

/** What can be done about hearing of it. */
function deedsOf(alert: Alert, silence: Silence | undefined, t: Words): Deed[] {
  const { acknowledge, silenceFor, unsilence, said } = t.alerts;
  const quieten = (length: keyof typeof LENGTHS_S): Deed => ({
    label: silenceFor[length],
    work: () => api.silence([alert.event], alert.labels, LENGTHS_S[length]),
    said: said.silenced(alert.title),
  });
  return [
    ...(alert.acknowledged_at === null ? [{ label: acknowledge, work: () => api.acknowledge(alert.id), said: said.acknowledged(alert.title) }] : []),
    ...(alert.silenced_by === null ? [quieten("hour"), quieten("day")] : []),
    ...(silence ? [{ label: unsilence, work: () => api.endSilence(silence.id), said: said.unsilenced }] : []),
  ];
}

interface Props {
  alert: Alert;
  /** The silence that keeps it quiet, while there is one. */
  silence?: Silence | undefined;
  /** What was done, for those who don't see it. */
  say: (what: string) => void;
}

/** One alert: what is wrong, since when, what to do; and while it fires, what can be done about hearing of it. */
export function AlertRow({ alert, silence, say }: Props) {
  const t = useWords();
  const language = useLanguage();
  const act = useAct();
  const row = useRef<HTMLLIElement>(null);
  const when = (at: number) => moment(at, language);
  const over = alert.resolved_at;
  const firing = over === null;

  const deeds = firing ? deedsOf(alert, silence, t) : [];
  const doIt = ({ work, said }: Deed) =>
    act.mutate(work, {
      onSuccess: () => {
        row.current?.focus(); // the button that had it may be gone
        say(said);
      },
    });

  return (
    <li ref={row} tabIndex={-1} className="space-y-1.5 px-5 py-3 text-sm">
      <p className="flex flex-wrap items-baseline gap-x-2 gap-y-1">
        <span className={`rounded-full px-2.5 py-0.5 text-xs font-medium ${firing ? BADGES[alert.severity] : "bg-sunken text-muted"}`}>{t.alerts.severities[alert.severity]}</span>
        <span lang="en" className="min-w-0 font-medium break-words">
          {alert.title}
        </span>
      </p>
      <p className="text-xs text-faint">{firing ? t.alerts.since(when(alert.first_seen)) : t.alerts.over(when(alert.first_seen), when(over))}</p>
      {alert.text && (
        <p className="break-words text-muted">
          <Own words={alert.text} />
        </p>
      )}
      {firing && alert.advice && (
        <p className="break-words">
          <strong className="font-semibold">{t.alerts.todo}</strong> <Own words={alert.advice} />
        </p>
      )}
      {firing && alert.acknowledged_at !== null && <p className="text-xs text-faint">{t.alerts.acknowledged(alert.acknowledged_by ?? "", when(alert.acknowledged_at))}</p>}
      {firing && alert.silenced_by !== null && <p className="text-xs text-faint">{silence ? t.alerts.silencedUntil(when(silence.ends_at)) : t.alerts.silenced}</p>}
      {firing && alert.inhibited_by !== null && <p className="text-xs text-faint">{t.alerts.follows}</p>}
      {deeds.length > 0 && (
        <div className="flex flex-wrap gap-2 pt-1">
          {deeds.map((deed) => (
            <Button key={deed.label} aria-label={`${deed.label}: ${alert.title}`} disabled={act.isPending} onClick={() => doIt(deed)}>
              {deed.label}
            </Button>
          ))}
        </div>
      )}
      {act.isError && <ErrorNotice error={act.error} />}
    </li>
  );
}
