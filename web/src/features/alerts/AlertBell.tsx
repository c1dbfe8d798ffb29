import type { Ref } from "react";

import { Icon } from "@/components/Icon";
import { notForThisKey } from "@/lib/apiError";
import type { Severity } from "@/lib/types";
import { useWords } from "@/lib/words";

import { countOf } from "./firing";
import { useFiring } from "./useAlerts";

const MOST = 99;
const BADGES: Record<Severity, string> = {
  critical: "bg-danger text-page",
  warning: "bg-warn text-page",
  info: "bg-accent text-on-accent",
  debug: "bg-accent text-on-accent",
};

interface Props {
  open: boolean;
  onOpen: () => void;
  ref: Ref<HTMLButtonElement>;
}

/** How many alerts fire, in the colour of the worst; grey once all were seen. Nothing for a key that may not see them. */
export function AlertBell({ open, onOpen, ref }: Props) {
  const t = useWords();
  const firing = useFiring();
  if (firing.isPending || notForThisKey(firing.error)) return null;
  const { count, worst, seen } = countOf(firing.data ?? []);
  const said = firing.data ? t.alerts.bell(count, t.alerts.severities[worst].toLowerCase()) : t.alerts.title;
  return (
    <>
      <button
        ref={ref}
        type="button"
        aria-label={said}
        title={said}
        aria-haspopup="dialog"
        aria-expanded={open}
        onClick={onOpen}
        className="relative inline-flex size-9 shrink-0 items-center justify-center rounded-lg text-muted transition-colors hover:bg-line/50 hover:text-ink"
      >
        <Icon name="bell" className="size-[1.15rem]" />
        {count > 0 && (
          <span className={`absolute top-0 right-0 min-w-[1.1rem] rounded-full px-1 text-center text-[0.68rem] leading-[1.1rem] font-bold ${seen ? "bg-muted text-page" : BADGES[worst]}`}>
            {count > MOST ? `${MOST}+` : count}
          </span>
        )}
      </button>
      <span role="status" className="sr-only">
        {said}
      </span>
    </>
  );
}
