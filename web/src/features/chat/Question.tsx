import { useMutation } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";

import { Button, IconButton } from "@/components/Button";
import { ErrorNotice } from "@/components/Notice";
import type { Message } from "@/lib/types";
import { useWords } from "@/lib/words";

import { Versions } from "./Versions";

interface Props {
  message: Message;
  onEdit: (text: string) => Promise<void>;
  onChosen: () => Promise<void>;
}

/** One question of the user's, which can be asked in other words: its conversation goes on from there in a branch of its own. */
export function Question({ message, onEdit, onChosen }: Props) {
  const t = useWords();
  const [editing, setEditing] = useState(false);
  const pencil = useRef<HTMLButtonElement>(null);
  const left = useRef(false); // the field was left: the keyboard goes back to where it came from
  useEffect(() => {
    if (!editing && left.current) pencil.current?.focus();
    left.current = editing;
  }, [editing]);
  if (editing) return <Edit text={message.text} onEdit={onEdit} onClose={() => setEditing(false)} />;
  return (
    <div className="group flex flex-col items-end gap-1">
      <p className="max-w-[85%] rounded-2xl rounded-br-md bg-soft px-4 py-2.5 text-base break-words whitespace-pre-wrap">
        <span className="sr-only">{t.chat.you}: </span>
        {message.text}
      </p>
      <div className="flex items-center">
        <Versions message={message} onChosen={onChosen} />
        <IconButton ref={pencil} label={t.chat.edit} icon="edit" className="size-8" onClick={() => setEditing(true)} />
      </div>
    </div>
  );
}

function Edit({ text, onEdit, onClose }: { text: string; onEdit: (text: string) => Promise<void>; onClose: () => void }) {
  const t = useWords();
  const [draft, setDraft] = useState(text);
  const send = useMutation({ mutationFn: () => onEdit(draft.trim()), onSuccess: onClose });
  const ready = draft.trim() !== "" && draft.trim() !== text && !send.isPending;
  return (
    <form
      className="ml-auto w-full max-w-[85%] space-y-2"
      onSubmit={(event) => {
        event.preventDefault();
        if (ready) send.mutate();
      }}
    >
      <textarea
        autoFocus
        value={draft}
        maxLength={20_000}
        rows={Math.min(8, draft.split("\n").length + 1)}
        aria-label={t.chat.editing}
        onFocus={(event) => event.target.setSelectionRange(draft.length, draft.length)}
        onChange={(event) => setDraft(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") onClose();
          if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
          event.preventDefault();
          if (ready) send.mutate();
        }}
        className="w-full resize-none rounded-2xl border border-line bg-surface px-4 py-2.5 text-base outline-none focus:border-accent"
      />
      {send.isError && <ErrorNotice error={send.error} />}
      <div className="flex flex-wrap items-center justify-end gap-2">
        <p className="text-xs text-faint">{t.chat.editHint}</p>
        <Button onClick={onClose}>{t.cancel}</Button>
        <Button look="primary" type="submit" disabled={!ready}>
          {t.chat.send}
        </Button>
      </div>
    </form>
  );
}
