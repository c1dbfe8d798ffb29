import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";

const STORED = "perenne.theme";
const listeners = new Set<() => void>();
const dark = () => matchMedia("(prefers-color-scheme: dark)");

export function currentTheme(): Theme {
  const stored = localStorage.getItem(STORED);
  return stored === "light" || stored === "dark" ? stored : "system";
}

/** Put the chosen theme, or the system's, on the page. */
export function applyTheme(): void {
  const theme = currentTheme();
  document.documentElement.dataset["theme"] = theme === "system" ? (dark().matches ? "dark" : "light") : theme;
}

export function setTheme(theme: Theme): void {
  localStorage.setItem(STORED, theme);
  applyTheme();
  for (const tell of listeners) tell();
}

export function followSystemTheme(): void {
  applyTheme();
  dark().addEventListener("change", applyTheme);
}

export function useTheme(): Theme {
  return useSyncExternalStore((tell) => {
    listeners.add(tell);
    return () => listeners.delete(tell);
  }, currentTheme);
}
