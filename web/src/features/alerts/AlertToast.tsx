import { useState } from "react";

import { Button, IconButton } from "@/components/Button";
import { Icon } from "@/components/Icon";
import { useWords } from "@/lib/words";

import { hear, UNHEARD } from "./firing";
import { useFiring } from "./useAlerts";

/** Says what got critical since the page began, until it is looked at, dismissed or over. `shown`: the list is open. */
export function AlertToast({ shown, onShow }: { shown: boolean; onShow: () => void }) {
  const t = useWords();
  const firing = useFiring();
  const [heard, setHeard] = useState(UNHEARD);
  const now = firing.data ? hear(heard, firing.data, shown) : heard;
  if (now !== heard) setHeard(now);
  const [first, ...rest] = now.news.flatMap((id) => firing.data?.find((alert) => alert.id === id) ?? []);
  if (!first) return null;

  return (
    <div
      role="alert"
      className="appear fixed inset-x-3 top-14 z-40 flex items-start gap-3 rounded-2xl border border-danger bg-danger-soft py-3 pr-2 pl-4 text-sm text-danger shadow-xl md:inset-x-auto md:top-3 md:right-3 md:w-96"
    >
      <Icon name="bell" className="mt-0.5 size-5" />
      <div className="min-w-0 flex-1 space-y-1">
        <p className="text-xs font-medium">{t.alerts.news}</p>
        <p lang="en" className="font-semibold break-words">
          {first.title}
        </p>
        {first.text && (
          <p lang="en" className="line-clamp-3 break-words">
            {first.text}
          </p>
        )}
        {rest.length > 0 && <p>{t.alerts.more(rest.length)}</p>}
        <Button className="mt-1" onClick={onShow}>
          {t.alerts.show}
        </Button>
      </div>
      <IconButton icon="close" label={t.alerts.dismiss} className="text-danger" onClick={() => setHeard({ ...now, news: [] })} />
    </div>
  );
}
