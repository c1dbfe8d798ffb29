import type { ReactNode } from "react";

import { errorWords } from "@/lib/errorWords";
import { useWords } from "@/lib/words";

import { Button } from "./Button";
import { Icon, type IconName } from "./Icon";

const TONES = {
  calm: "bg-soft text-ink",
  warn: "bg-warn-soft text-warn",
  danger: "bg-danger-soft text-danger",
} as const;

export function Notice({ tone, icon, children, action }: { tone: keyof typeof TONES; icon?: IconName; children: ReactNode; action?: ReactNode }) {
  return (
    <div className={`appear flex flex-wrap items-center gap-x-3 gap-y-2 rounded-xl px-4 py-2.5 text-sm ${TONES[tone]}`}>
      {icon && <Icon name={icon} />}
      <div className="min-w-0 flex-1 basis-56">{children}</div>
      {action}
    </div>
  );
}

/** An error in words, with what to do. The server's own sentence is there for who wants it. */
export function ErrorNotice({ error, onRetry }: { error: unknown; onRetry?: (() => void) | undefined }) {
  const t = useWords();
  const said = errorWords(error, t);
  return (
    <div role="alert">
      <Notice tone="danger" icon="warn" action={onRetry && <Button onClick={onRetry}>{t.tryAgain}</Button>}>
        <strong className="font-semibold">{said.what}</strong> {said.todo}
        {said.detail && <span className="block text-xs break-words">{said.detail}</span>}
      </Notice>
    </div>
  );
}
