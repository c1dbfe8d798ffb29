import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";

import { Button } from "@/components/Button";
import { Icon } from "@/components/Icon";
import { ErrorNotice } from "@/components/Notice";
import { api, keys } from "@/lib/api";
import { newId } from "@/lib/ids";
import { useStanding } from "@/lib/live/Live";
import type { Message, MessagePosted, Project } from "@/lib/types";
import { go } from "@/lib/url";
import { useWords } from "@/lib/words";

import { Answer } from "./Answer";
import { Composer } from "./Composer";
import { Question } from "./Question";
import { useStickToEnd } from "./useStickToEnd";
import { Versions } from "./Versions";

const BY_CLOCK_MS = 15_000; // how often another window's questions are looked for while no socket tells of them

function open(message: Message): boolean {
  return message.role === "assistant" && (message.state === "queued" || message.state === "running");
}

export function Chat({ project, chat }: { project: Project; chat: string | null }) {
  const t = useWords();
  const cache = useQueryClient();
  const fresh = useMemo(() => chat ?? newId("cnv"), [chat]);
  const messages = useQuery({ queryKey: keys.messages(fresh), queryFn: () => api.messages(fresh), enabled: chat !== null, refetchInterval: useStanding() ? false : BY_CLOCK_MS });
  useEffect(() => {
    api.warm().catch(() => undefined); // a favour: the first question brings the model as well, later
  }, []);
  const list = useMemo(() => (chat === null ? [] : (messages.data ?? [])), [chat, messages.data]);
  const last = list.at(-1);
  const written = list.find(open); // those after it wait their turn
  const going = written !== undefined;

  const reread = () => cache.invalidateQueries({ queryKey: keys.messages(fresh) });
  const refresh = () => {
    void reread();
    void cache.invalidateQueries({ queryKey: keys.conversations(project.id) });
  };
  const edit = async (question: Message, text: string) => {
    await api.post(fresh, project.id, text, question.id);
    await reread();
    void cache.invalidateQueries({ queryKey: keys.conversations(project.id) });
  };
  const post = useMutation({
    mutationFn: (text: string) => api.post(fresh, project.id, text),
    onSuccess: async (posted: MessagePosted) => {
      const told = [posted.question.id, posted.reply.id]; // a look that began when the change was told may have both already
      await cache.cancelQueries({ queryKey: keys.messages(fresh) });
      cache.setQueryData<Message[]>(keys.messages(fresh), (held = []) => [...held.filter((message) => !told.includes(message.id)), posted.question, posted.reply]);
      void reread(); // the look that was cancelled may have been the one that sees an earlier answer's end
      if (chat === null) go({ chat: fresh });
      void cache.invalidateQueries({ queryKey: keys.conversations(project.id) });
    },
  });
  const stop = useMutation({ mutationFn: (run: string) => api.stop(run) });
  const { box, end } = useStickToEnd(list.length);

  const said = going ? t.chat.writing : t.chat.finished;

  return (
    <div className="flex min-h-0 flex-1 flex-col">
      <h1 className="sr-only">{t.chat.title}</h1>
      <div ref={box} className="min-h-0 flex-1 overflow-y-auto" tabIndex={list.length > 0 ? 0 : undefined} role="log" aria-label={t.chat.log}>
        {chat === null ? (
          <Welcome project={project} />
        ) : (
          <div className="mx-auto w-full max-w-3xl space-y-8 px-4 py-6">
            {messages.isPending && <p className="text-sm text-muted">{t.loading}</p>}
            {messages.isError && list.length === 0 && <ErrorNotice error={messages.error} onRetry={() => void messages.refetch()} />}
            {list.map((message) =>
              message.role === "user" ? (
                // One place in the conversation keeps its key from version to version, and with it the keyboard's focus.
                <Question key={`after ${message.parent_id}`} message={message} onEdit={(text) => edit(message, text)} onChosen={reread} />
              ) : (
                <div key={`to ${message.parent_id}`} className="space-y-1">
                  <Answer key={message.run_id ?? message.id} message={message} last={message === last} onEnded={refresh} onAgain={refresh} />
                  <Versions message={message} onChosen={reread} />
                </div>
              ),
            )}
            <div ref={end} />
          </div>
        )}
      </div>
      <div role="status" className="sr-only">
        {(going || post.isSuccess) && said}
      </div>
      <div className="space-y-2 pt-2 pb-4">
        {post.isError && (
          <div className="mx-auto w-full max-w-3xl px-4">
            <ErrorNotice error={post.error} />
          </div>
        )}
        {stop.isError && (
          <div className="mx-auto w-full max-w-3xl px-4">
            <ErrorNotice error={stop.error} />
          </div>
        )}
        <Composer
          key={fresh}
          going={going}
          sending={post.isPending}
          onSend={(text) => post.mutateAsync(text).then(
            () => true,
            () => false,
          )}
          onStop={() => written?.run_id && stop.mutate(written.run_id)}
        />
      </div>
    </div>
  );
}

function Welcome({ project }: { project: Project }) {
  const t = useWords();
  const empty = project.documents === 0;
  return (
    <div className="mx-auto flex h-full max-w-xl flex-col items-center justify-center gap-3 p-6 text-center">
      <div className="flex size-12 items-center justify-center rounded-2xl bg-soft text-accent">
        <Icon name="leaf" className="size-7" />
      </div>
      <p className="text-2xl font-semibold tracking-tight">{t.chat.hello}</p>
      <p className="text-muted">{empty ? t.chat.leadEmpty : t.chat.lead(project.name)}</p>
      {empty && (
        <Button look="primary" icon="upload" onClick={() => go({ view: "documents" })}>
          {t.chat.addDocuments}
        </Button>
      )}
    </div>
  );
}
