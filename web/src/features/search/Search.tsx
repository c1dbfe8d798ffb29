import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { Button } from "@/components/Button";
import { Icon } from "@/components/Icon";
import { ErrorNotice, Notice } from "@/components/Notice";
import { PassageCard } from "@/components/PassageCard";
import { api, keys } from "@/lib/api";
import { go } from "@/lib/url";
import { useWords } from "@/lib/words";

/** Search without the language model: works from the first second. */
export function Search({ project, text }: { project: string; text: string }) {
  const t = useWords();
  const [typed, setTyped] = useState(text);
  const found = useQuery({ queryKey: keys.search(text, project), queryFn: () => api.search(text, project), enabled: text !== "", staleTime: 0 });

  return (
    <div className="mx-auto w-full max-w-3xl space-y-5 px-4 py-6">
      <div>
        <h1 className="text-xl font-semibold tracking-tight">{t.search.title}</h1>
        <p className="text-sm text-muted">{t.search.lead}</p>
      </div>
      <form
        role="search"
        className="flex gap-2"
        onSubmit={(event) => {
          event.preventDefault();
          const query = typed.trim();
          if (query === text) void found.refetch();
          else go({ query, passage: null });
        }}
      >
        <div className="relative min-w-0 flex-1">
          <Icon name="search" className="absolute top-3.5 left-3 size-4 text-faint" />
          <input
            type="search"
            autoFocus
            value={typed}
            maxLength={2000}
            onChange={(event) => setTyped(event.target.value)}
            aria-label={t.search.label}
            placeholder={t.search.placeholder}
            className="h-11 w-full rounded-xl border border-line bg-surface pr-3 pl-9 placeholder:text-faint"
          />
        </div>
        <Button type="submit" look="primary" className="h-11" disabled={!typed.trim()}>
          {t.search.submit}
        </Button>
      </form>
      <div aria-live="polite" aria-busy={found.isFetching} className="space-y-4">
        {found.isError && <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />}
        {found.isFetching && !found.data && <p className="text-sm text-muted">{t.loading}</p>}
        {found.data?.degraded && (
          <Notice tone="warn" icon="warn">
            {t.search.degraded}
          </Notice>
        )}
        {found.data && text !== "" && (
          <p className="text-sm text-muted">{found.data.hits.length === 0 ? t.search.none : t.search.found(found.data.hits.length, Math.round(found.data.took_ms))}</p>
        )}
        <ol className="space-y-3">
          {found.data?.hits.map((hit) => (
            <li key={hit.chunk_id}>
              <PassageCard
                title={hit.title}
                page={hit.page}
                heading={hit.heading_path}
                text={hit.text}
                aside={t.search.match(Math.round(hit.score * 100))}
                onOpen={() => go({ passage: { document: hit.document_id, start: hit.start, end: hit.end, page: hit.page } })}
              />
            </li>
          ))}
        </ol>
      </div>
    </div>
  );
}
