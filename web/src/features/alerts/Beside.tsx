import { Button } from "@/components/Button";
import { ErrorNotice } from "@/components/Notice";
import { api } from "@/lib/api";
import { moment } from "@/lib/format";
import type { Channel, Silence } from "@/lib/types";
import { useLanguage, useWords } from "@/lib/words";

import { useAct } from "./useAlerts";

interface Saying {
  say: (what: string) => void;
}

/** A silence of which nothing fires now, so that it can be ended too. */
export function SilenceRow({ silence, say, onGone }: Saying & { silence: Silence; onGone: () => void }) {
  const t = useWords();
  const language = useLanguage();
  const act = useAct();
  const labels = Object.entries(silence.labels).map(([name, value]) => `${name}=${value}`);
  const what = [...silence.events, ...labels].map((each) => (each === "*" ? t.alerts.everything : each)).join(", ");
  const end = () =>
    act.mutate(async () => {
      await api.endSilence(silence.id);
      onGone(); // before the row goes, and with it who would be told
      say(t.alerts.said.unsilenced);
    });
  return (
    <li className="flex flex-wrap items-center gap-x-3 gap-y-2 px-5 py-2.5 text-sm">
      <div className="min-w-0 flex-1 basis-40">
        <p className="font-medium break-words">{what}</p>
        <p className="text-xs break-words text-faint">
          {[t.alerts.until(moment(silence.ends_at, language)), silence.reason].filter(Boolean).join(" · ")}
        </p>
      </div>
      <Button aria-label={`${t.alerts.unsilence}: ${what}`} disabled={act.isPending} onClick={end}>
        {t.alerts.unsilence}
      </Button>
      {act.isError && (
        <div className="basis-full">
          <ErrorNotice error={act.error} />
        </div>
      )}
    </li>
  );
}

/** Where messages go beside this page, what did not arrive, and a test of it. */
export function Ways({ channels, say }: Saying & { channels: Channel[] }) {
  const t = useWords();
  const language = useLanguage();
  const act = useAct();
  const names = new Intl.ListFormat(language).format(channels.map((channel) => channel.name));
  return (
    <div className="space-y-2 px-5 py-3 text-xs text-faint">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-2">
        <p className="min-w-0 flex-1 basis-40 break-words">{channels.length > 0 ? t.alerts.channels(names) : t.alerts.noChannels}</p>
        {channels.length > 0 && (
          <Button disabled={act.isPending} onClick={() => act.mutate(api.testAlerts, { onSuccess: () => say(t.alerts.said.tested) })}>
            {t.alerts.test}
          </Button>
        )}
      </div>
      {channels.map(
        (channel) =>
          channel.error && (
            <p key={channel.id} className="break-words text-warn">
              {t.alerts.channelError(channel.name)} <span lang="en">{channel.error}</span>
            </p>
          ),
      )}
      {act.isError && <ErrorNotice error={act.error} />}
    </div>
  );
}
