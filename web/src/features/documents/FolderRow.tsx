import { ConfirmButton } from "@/components/ConfirmButton";
import { Icon } from "@/components/Icon";
import { moment, number } from "@/lib/format";
import type { WatchState } from "@/lib/types";
import { useLanguage, useWords } from "@/lib/words";

const BADGES: Record<WatchState["phase"], string> = {
  starting: "bg-sunken text-muted",
  watching: "bg-soft text-accent",
  missing: "bg-warn-soft text-warn",
  emptied: "bg-warn-soft text-warn",
};

/** One watched folder: where it is, how it stands, when it was looked at last. */
export function FolderRow({ state, onStop }: { state: WatchState; onStop: () => void }) {
  const t = useWords();
  const language = useLanguage();
  const { phase, watch, files, skipped } = state;
  const facts = [
    ...(phase === "starting" ? [] : [t.watches.files(files, number(files, language))]),
    ...(skipped > 0 ? [t.watches.skipped(skipped, number(skipped, language))] : []),
    ...(state.scanned_at === null ? [] : [t.watches.looked(moment(state.scanned_at, language))]),
  ];
  const kept = phase === "missing" || phase === "emptied" ? t.watches.kept[phase] : null;
  return (
    <li className="px-4 py-2.5">
      <div className="flex flex-wrap items-center justify-end gap-x-3 gap-y-2">
        <Icon name="folder" className="size-5 text-faint" />
        <div className="min-w-0 flex-1 basis-44">
          <p className="font-medium break-words">{watch.path}</p>
          <p className="flex flex-wrap items-center gap-x-2 gap-y-1 text-xs text-faint">
            <span className={`rounded-full px-2.5 py-0.5 font-medium ${BADGES[phase]}`}>{t.watches.phases[phase]}</span>
            {facts.join(" · ")}
          </p>
        </div>
        <ConfirmButton icon="close" label={t.watches.remove(watch.path)} question={t.watches.confirm} onConfirm={onStop} />
      </div>
      {(kept || state.reason) && (
        <p className="mt-1 pl-8 text-sm text-muted">
          {kept}
          {state.reason && (
            <span lang="en" className="block text-xs break-words text-faint">
              {state.reason}
            </span>
          )}
        </p>
      )}
    </li>
  );
}
