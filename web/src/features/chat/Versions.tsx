import { useMutation } from "@tanstack/react-query";

import { Icon } from "@/components/Icon";
import { ErrorNotice } from "@/components/Notice";
import { api } from "@/lib/api";
import type { Message } from "@/lib/types";
import { useWords } from "@/lib/words";

/** ‹ 2/3 › beside a message that is one of several: moves to the branch of the one before or after it. */
export function Versions({ message, onChosen }: { message: Message; onChosen: () => Promise<void> }) {
  const t = useWords();
  const choose = useMutation({ mutationFn: (id: string) => api.choose(id).then(onChosen) });
  const at = message.siblings.indexOf(message.id);
  if (message.siblings.length < 2 || at < 0) return null;
  const step = (by: number, icon: "left" | "right", label: string) => {
    const next = message.siblings[at + by];
    return (
      <button
        type="button"
        aria-label={label}
        title={label}
        aria-disabled={next === undefined} // not `disabled`: the keyboard keeps its place at the last one
        onClick={() => next !== undefined && !choose.isPending && choose.mutate(next)}
        className="inline-flex size-8 items-center justify-center rounded-lg text-muted hover:bg-sunken hover:text-ink aria-disabled:cursor-default aria-disabled:opacity-40 aria-disabled:hover:bg-transparent"
      >
        <Icon name={icon} />
      </button>
    );
  };
  return (
    <div role="group" aria-label={t.chat.versions(at + 1, message.siblings.length)} className="flex items-center text-xs text-muted tabular-nums">
      {step(-1, "left", t.chat.versionBefore)}
      <span aria-live="polite">
        {at + 1}/{message.siblings.length}
      </span>
      {step(1, "right", t.chat.versionAfter)}
      {choose.isError && <ErrorNotice error={choose.error} />}
    </div>
  );
}
