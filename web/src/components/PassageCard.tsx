import { useWords } from "@/lib/words";

interface Props {
  number?: number;
  title: string;
  page: number | null;
  heading?: string[];
  text: string;
  aside?: string;
  small?: boolean;
  onOpen: () => void;
}

/** A passage as something to open: where it is from, and its first lines. */
export function PassageCard({ number, title, page, heading = [], text, aside, small = false, onOpen }: Props) {
  const t = useWords();
  const where = [...heading, ...(page === null ? [] : [t.page(page)])].join(" · ");
  return (
    <button
      type="button"
      onClick={onOpen}
      className={`block h-full w-full rounded-xl border border-line bg-surface text-left transition-colors hover:border-accent ${small ? "px-3 py-2" : "px-4 py-3"}`}
    >
      <span className="flex items-baseline gap-2">
        {number !== undefined && <span className="inline-flex h-5 min-w-5 items-center justify-center rounded-md bg-soft px-1 text-xs font-semibold text-accent">{number}</span>}
        <span className={`min-w-0 flex-1 truncate font-medium ${small ? "text-sm" : ""}`}>{title}</span>
        {aside && <span className="shrink-0 text-xs text-faint">{aside}</span>}
      </span>
      {where && <span className="mt-0.5 block truncate text-xs text-faint">{where}</span>}
      <span className={`mt-1 text-sm text-muted ${small ? "line-clamp-2" : "line-clamp-4"}`}>{text}</span>
    </button>
  );
}
