import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";

import { Button } from "@/components/Button";
import { ConfirmButton } from "@/components/ConfirmButton";
import { ErrorNotice } from "@/components/Notice";
import { api, keys } from "@/lib/api";
import { useStanding } from "@/lib/live/Live";
import { nextPage } from "@/lib/nextPage";
import { pagesOf } from "@/lib/pages";
import type { Conversation } from "@/lib/types";
import { go } from "@/lib/url";
import { useWords } from "@/lib/words";

const BY_CLOCK_MS = 15_000; // how often another window's chats are looked for while no socket tells of them

export function ConversationList({ project, open, onChoose }: { project: string; open: string | null; onChoose: () => void }) {
  const t = useWords();
  const list = useInfiniteQuery({
    queryKey: keys.conversations(project),
    ...pagesOf((after, leave) => api.conversations(project, after, leave)),
    refetchInterval: useStanding() ? false : BY_CLOCK_MS,
  });
  const held = list.data?.pages.flatMap((page) => page.items) ?? [];
  const shown = [...new Map(held.map((conversation) => [conversation.id, conversation])).values()]; // one used meanwhile moves up a page
  const rows = useRef<HTMLUListElement>(null);
  const pages = list.data?.pages.length ?? 0;
  const goOn = useRef<{ pages: number; row: number } | null>(null); // once older ones are there, the focus goes to the first of them
  useEffect(() => {
    if (goOn.current === null || pages <= goOn.current.pages) return;
    rows.current?.children[goOn.current.row]?.querySelector("button")?.focus();
    goOn.current = null;
  }, [pages]);
  const more = async () => {
    goOn.current = { pages, row: shown.length };
    if (!(await nextPage(list))) goOn.current = null;
  };
  return (
    <section className="flex min-h-0 flex-1 flex-col gap-2" aria-labelledby="conversations">
      <Button
        icon="plus"
        className="justify-start"
        onClick={() => {
          go({ view: "chat", chat: null, passage: null });
          onChoose();
        }}
      >
        {t.conversations.start}
      </Button>
      <h2 id="conversations" className="px-2 pt-2 text-xs font-medium text-faint">
        {t.conversations.title}
      </h2>
      {list.isError && !list.data && <ErrorNotice error={list.error} onRetry={() => void list.refetch()} />}
      {list.data && shown.length === 0 && <p className="px-2 text-sm text-muted">{t.conversations.none}</p>}
      <div className="-mx-1 min-h-0 flex-1 overflow-y-auto px-1">
        <ul ref={rows} aria-labelledby="conversations">
          {shown.map((conversation) => (
            <Row key={conversation.id} conversation={conversation} project={project} current={conversation.id === open} onChoose={onChoose} />
          ))}
        </ul>
        {list.isFetchNextPageError && <ErrorNotice error={list.error} />}
        {list.hasNextPage && (
          <Button look="bare" className="w-full justify-start px-2!" aria-busy={list.isFetchingNextPage} onClick={() => void (list.isFetchingNextPage || more())}>
            {t.conversations.more}
          </Button>
        )}
      </div>
    </section>
  );
}

function Row({ conversation, project, current, onChoose }: { conversation: Conversation; project: string; current: boolean; onChoose: () => void }) {
  const t = useWords();
  const cache = useQueryClient();
  const title = conversation.title || t.conversations.untitled;
  const remove = useMutation({
    mutationFn: () => api.deleteConversation(conversation.id),
    onSuccess: () => {
      if (current) go({ chat: null, passage: null }, true);
      return cache.invalidateQueries({ queryKey: keys.conversations(project) });
    },
  });
  return (
    <li className={`group relative rounded-lg ${current ? "bg-soft" : "hover:bg-line/50"}`}>
      <button
        type="button"
        aria-current={current ? "page" : undefined}
        onClick={() => {
          go({ view: "chat", chat: conversation.id, passage: null });
          onChoose();
        }}
        className={`block w-full truncate rounded-lg px-2 py-2 text-left text-sm group-focus-within:pr-9 group-hover:pr-9 pointer-coarse:pr-9 ${current ? "font-medium" : ""}`}
      >
        {title}
      </button>
      <div className="absolute top-0 right-0">
        <ConfirmButton
          label={t.conversations.remove(title)}
          question={t.conversations.confirm}
          onConfirm={() => remove.mutate()}
          className="opacity-0 group-hover:opacity-100 focus-visible:opacity-100 pointer-coarse:opacity-100"
        />
      </div>
      {remove.isError && <ErrorNotice error={remove.error} />}
    </li>
  );
}
