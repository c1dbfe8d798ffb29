import { setTheme, type Theme, useTheme } from "./lib/theme";
import { catalogues, type Language, setLanguage, useLanguage, useWords } from "./lib/words";

const FIELD = "h-8 min-w-0 flex-1 rounded-lg border border-line bg-surface px-2 text-xs text-ink";
const THEMES: readonly Theme[] = ["system", "light", "dark"];

export function Preferences() {
  const t = useWords();
  const language = useLanguage();
  const theme = useTheme();
  return (
    <div className="flex gap-2">
      <select aria-label={t.menu.languageLabel} value={language} onChange={(event) => setLanguage(event.target.value as Language)} className={FIELD}>
        {(Object.keys(catalogues) as Language[]).map((each) => (
          <option key={each} value={each}>
            {catalogues[each].language}
          </option>
        ))}
      </select>
      <select aria-label={t.menu.themeLabel} value={theme} onChange={(event) => setTheme(event.target.value as Theme)} className={FIELD}>
        {THEMES.map((each) => (
          <option key={each} value={each}>
            {t.menu.theme[each]}
          </option>
        ))}
      </select>
    </div>
  );
}
