import { useEffect, useRef, useState } from "react";

import { Icon } from "@/components/Icon";
import { useWords } from "@/lib/words";

interface Props {
  going: boolean;
  sending: boolean;
  onSend: (text: string) => Promise<boolean>;
  onStop: () => void;
}

/** Where a question is written. It keeps what was typed until the server has it. One sent while an answer is written waits its turn there. */
export function Composer({ going, sending, onSend, onStop }: Props) {
  const t = useWords();
  const [text, setText] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    const area = field.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight, 220)}px`;
  }, [text]);

  async function submit() {
    const asked = text.trim();
    if (!asked || sending) return;
    if (await onSend(asked)) setText((now) => (now.trim() === asked ? "" : now)); // what was typed meanwhile stays
  }

  return (
    <form
      className="mx-auto w-full max-w-3xl px-4"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <div className="flex items-end gap-2 rounded-2xl border border-line bg-surface p-2 shadow-sm focus-within:border-accent">
        <textarea
          ref={field}
          rows={1}
          autoFocus
          value={text}
          maxLength={20_000}
          aria-label={t.chat.input}
          aria-describedby="composer-hint"
          placeholder={t.chat.placeholder}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
            event.preventDefault();
            void submit();
          }}
          className="min-h-9 flex-1 resize-none bg-transparent px-2 py-1.5 text-base outline-none placeholder:text-faint"
        />
        {going && (
          <button type="button" onClick={onStop} aria-label={t.chat.stop} title={t.chat.stop} className="inline-flex size-9 shrink-0 items-center justify-center rounded-xl bg-ink text-page hover:opacity-80">
            <span className="size-3 rounded-xs bg-page" />
          </button>
        )}
        {(!going || text.trim()) && (
          <button
            type="submit"
            disabled={!text.trim() || sending}
            aria-label={t.chat.send}
            title={t.chat.send}
            className="inline-flex size-9 shrink-0 items-center justify-center rounded-xl bg-accent text-on-accent hover:opacity-90 disabled:bg-line disabled:text-faint"
          >
            <Icon name="send" />
          </button>
        )}
      </div>
      <p id="composer-hint" className="mt-1.5 hidden text-center text-xs text-faint sm:block">
        {t.chat.enter}
      </p>
    </form>
  );
}
