import { useSyncExternalStore } from "react";

import { en, type Words } from "./en";
import { es } from "./es";

export type { Words };
export type Language = "en" | "es";

export const catalogues: Record<Language, Words> = { en, es };

const STORED = "perenne.language";
const listeners = new Set<() => void>();

/** The first of the browser's languages that we speak. */
export function preferred(languages: readonly string[]): Language {
  for (const tag of languages) {
    const base = tag.toLowerCase().split("-")[0];
    if (base === "en" || base === "es") return base;
  }
  return "en";
}

export function currentLanguage(): Language {
  const stored = localStorage.getItem(STORED);
  return stored === "en" || stored === "es" ? stored : preferred(navigator.languages);
}

export function applyLanguage(): void {
  document.documentElement.lang = currentLanguage();
}

export function setLanguage(language: Language): void {
  localStorage.setItem(STORED, language);
  applyLanguage();
  for (const tell of listeners) tell();
}

export function useLanguage(): Language {
  return useSyncExternalStore((tell) => {
    listeners.add(tell);
    return () => listeners.delete(tell);
  }, currentLanguage);
}

/** The page's strings in the language chosen. */
export function useWords(): Words {
  return catalogues[useLanguage()];
}
