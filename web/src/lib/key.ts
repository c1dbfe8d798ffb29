import { useSyncExternalStore } from "react";

const STORED = "perenne.key";
const listeners = new Set<() => void>();

/** The access key, or null when nobody is signed in. */
export function currentKey(): string | null {
  return localStorage.getItem(STORED);
}

export function setKey(key: string | null): void {
  if (key) localStorage.setItem(STORED, key);
  else localStorage.removeItem(STORED);
  for (const tell of listeners) tell();
}

/** The server no longer knows this key: sign out, unless another was taken up meanwhile. */
export function keyRefused(key: string | null): void {
  if (key === currentKey()) setKey(null);
}

/** Take the key of a link (`#key=…`) once, and leave no trace of it in the address. */
export function takeKeyFromAddress(): void {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!given) return;
  setKey(given.trim());
  history.replaceState(history.state, "", location.pathname + location.search);
}

export function useKey(): string | null {
  return useSyncExternalStore((tell) => {
    listeners.add(tell);
    addEventListener("storage", tell); // signed in or out in another tab
    return () => {
      listeners.delete(tell);
      removeEventListener("storage", tell);
    };
  }, currentKey);
}
