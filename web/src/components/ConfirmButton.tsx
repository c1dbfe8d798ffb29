import { useEffect, useRef, useState } from "react";

import { IconButton } from "./Button";
import type { IconName } from "./Icon";

/** Asks once, in place, before something is deleted or ended; Escape or leaving it takes the question back. */
export function ConfirmButton({ label, question, onConfirm, icon = "trash", className = "" }: { label: string; question: string; onConfirm: () => void; icon?: IconName; className?: string }) {
  const [asking, setAsking] = useState(false);
  const sure = useRef<HTMLButtonElement>(null);
  const first = useRef<HTMLButtonElement>(null);
  const refused = useRef(false); // by Escape: then the focus goes back where it was
  useEffect(() => {
    if (asking) sure.current?.focus();
    else if (refused.current) first.current?.focus();
    refused.current = false;
  }, [asking]);
  if (!asking) return <IconButton ref={first} label={label} icon={icon} className={className} onClick={() => setAsking(true)} />;
  return (
    <button
      ref={sure}
      type="button"
      aria-label={`${question} ${label}`}
      className="h-9 shrink-0 rounded-lg bg-danger px-3 text-sm font-medium text-page"
      onClick={() => {
        setAsking(false);
        onConfirm();
      }}
      onBlur={() => setAsking(false)}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        refused.current = true;
        setAsking(false);
      }}
    >
      {question}
    </button>
  );
}
