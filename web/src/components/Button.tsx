import type { ButtonHTMLAttributes, Ref } from "react";

import { Icon, type IconName } from "./Icon";

const LOOKS = {
  primary: "bg-accent text-on-accent hover:opacity-90",
  quiet: "border border-line bg-surface text-ink hover:bg-sunken",
  bare: "text-muted hover:bg-sunken hover:text-ink",
  danger: "bg-danger text-page hover:opacity-90",
} as const;

interface Props extends ButtonHTMLAttributes<HTMLButtonElement> {
  look?: keyof typeof LOOKS;
  icon?: IconName;
  ref?: Ref<HTMLButtonElement>;
}

export function Button({ look = "quiet", icon, className = "", children, type = "button", ...rest }: Props) {
  return (
    <button
      type={type}
      className={`inline-flex min-h-9 items-center justify-center gap-2 rounded-lg px-3 py-1.5 text-sm font-medium transition-colors disabled:opacity-50 ${LOOKS[look]} ${className}`}
      {...rest}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

/** A button that is only an icon; `label` is its name for everybody. */
export function IconButton({ label, icon, className = "", ...rest }: { label: string; icon: IconName; ref?: Ref<HTMLButtonElement> } & ButtonHTMLAttributes<HTMLButtonElement>) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      className={`inline-flex size-9 shrink-0 items-center justify-center rounded-lg text-muted transition-colors hover:bg-sunken hover:text-ink disabled:opacity-50 ${className}`}
      {...rest}
    >
      <Icon name={icon} className="size-[1.15rem]" />
    </button>
  );
}
