const PATHS = {
  chat: "M4 5h16v11H9l-5 4V5Z",
  documents: "M6 3h8l4 4v14H6V3Zm8 0v4h4M9 12h6M9 16h6",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14Zm5 12 4.5 4.5",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6 6 18",
  menu: "M4 7h16M4 12h16M4 17h16",
  send: "M12 19V5m-6 6 6-6 6 6",
  retry: "M20 12a8 8 0 1 1-2.5-5.8M20 4v4h-4",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  check: "m5 12.5 4.5 4.5L19 7.5",
  trash: "M5 7h14M10 7V4h4v3m-7 0 1 13h8l1-13M10 11v5m4-5v5",
  file: "M7 3h7l4 4v14H7V3Zm7 0v4h4",
  folder: "M3 6h7l2 2h9v11H3V6Z",
  upload: "M12 16V5m-5 5 5-5 5 5M5 19h14",
  bell: "M6 17V11a6 6 0 0 1 12 0v6l1.5 1.5h-15L6 17Zm4 4h4",
  warn: "M12 4 3 19h18L12 4Zm0 6v4m0 2.5v.1",
  leaf: "M12 20V9M12 13c-4 0-6.5-2.5-6.5-6.5 4 0 6.5 2.5 6.5 6.5Zm0-2c0-4 2.5-6.5 6.5-6.5 0 4-2.5 6.5-6.5 6.5Z",
  chevron: "m8 10 4 4 4-4",
  left: "m14 8-4 4 4 4",
  right: "m10 8 4 4-4 4",
  edit: "M4 20h4L19 9l-4-4L4 16v4Zm9-13 4 4",
  out: "M14 4h5v16h-5M10 8l-4 4 4 4m-4-4h10",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, className = "size-4" }: { name: IconName; className?: string }) {
  return (
    <svg viewBox="0 0 24 24" className={`shrink-0 ${className}`} fill="none" stroke="currentColor" strokeWidth={1.8} strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
