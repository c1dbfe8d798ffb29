import { useState } from "react";

import { Icon } from "@/components/Icon";
import { PassageCard } from "@/components/PassageCard";
import type { Hit } from "@/lib/types";
import { useWords } from "@/lib/words";

/** What the answer is about to rest on: shown before its first word, folded away once it is written. */
export function Sources({ hits, open, onOpen }: { hits: Hit[]; open: boolean; onOpen: (hit: Hit) => void }) {
  const t = useWords();
  const [chosen, choose] = useState<boolean | null>(null);
  const shown = chosen ?? open;
  return (
    <section className="appear space-y-2">
      <button
        type="button"
        aria-expanded={shown}
        onClick={() => choose(!shown)}
        className="-ml-1 inline-flex items-center gap-1 rounded-md px-1 py-0.5 text-sm font-medium text-muted hover:text-ink"
      >
        <Icon name="chevron" className={`size-4 transition-transform ${shown ? "" : "-rotate-90"}`} />
        {t.chat.sources(hits.length)}
      </button>
      {shown && (
        <ol className="grid gap-2 sm:grid-cols-2">
          {hits.map((hit, index) => (
            <li key={hit.chunk_id} className="min-w-0">
              <PassageCard small number={index + 1} title={hit.title} page={hit.page} text={hit.text} onOpen={() => onOpen(hit)} />
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}
