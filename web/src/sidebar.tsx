import { type ReactNode, useEffect, useRef } from "react";

import { Button, IconButton } from "./components/Button";
import { Icon, type IconName } from "./components/Icon";
import { ConversationList } from "./features/conversations/ConversationList";
import { ProjectPicker } from "./features/projects/ProjectPicker";
import { setKey } from "./lib/key";
import type { Project } from "./lib/types";
import { go, type Place, type View } from "./lib/url";
import { useWords } from "./lib/words";
import { Preferences } from "./preferences";

const VIEWS: readonly [View, IconName][] = [
  ["chat", "chat"],
  ["documents", "documents"],
  ["search", "search"],
];

interface Props {
  projects: Project[];
  project: Project | null;
  place: Place;
  shown: boolean;
  inert: boolean;
  onHide: () => void;
  bell: ReactNode;
}

/** Beside the page on a wide screen; over it, on a narrow one, while `shown`. */
export function Sidebar({ projects, project, place, shown, inert, onHide, bell }: Props) {
  const t = useWords();
  const box = useRef<HTMLElement>(null);
  useEffect(() => {
    if (shown) box.current?.querySelector<HTMLElement>("button, select")?.focus();
  }, [shown]);

  return (
    <>
      {shown && <div className="fixed inset-0 z-10 bg-black/40 md:hidden" onClick={onHide} aria-hidden="true" />}
      <nav
        ref={box}
        inert={inert}
        aria-label={t.menu.main}
        onKeyDown={(event) => {
          if (event.key === "Escape") onHide();
        }}
        className={`${shown ? "fixed inset-y-0 left-0 z-20 flex" : "hidden"} w-72 shrink-0 flex-col gap-4 border-r border-line bg-sunken p-3 md:static md:flex md:w-64`}
      >
        <div className="flex items-center gap-2 px-1 pt-1">
          <span className="flex size-7 items-center justify-center rounded-lg bg-accent text-on-accent">
            <Icon name="leaf" className="size-5" />
          </span>
          <span className="flex-1 text-lg font-semibold tracking-tight">{t.name}</span>
          {bell}
          <IconButton icon="close" label={t.close} onClick={onHide} className="md:hidden" />
        </div>
        <ProjectPicker projects={projects} chosen={project} />
        <ul className="space-y-0.5">
          {VIEWS.map(([view, icon]) => (
            <li key={view}>
              <button
                type="button"
                aria-current={place.view === view ? "page" : undefined}
                onClick={() => {
                  go({ view, passage: null });
                  onHide();
                }}
                className={`flex w-full items-center gap-2.5 rounded-lg px-2 py-2 text-sm ${place.view === view ? "bg-soft font-semibold text-accent" : "text-muted hover:bg-line/50 hover:text-ink"}`}
              >
                <Icon name={icon} className="size-[1.15rem]" />
                {t.menu[view]}
                {view === "documents" && project && project.documents > 0 && <span className="ml-auto text-xs font-normal text-faint">{project.documents}</span>}
              </button>
            </li>
          ))}
        </ul>
        {project ? <ConversationList project={project.id} open={place.chat} onChoose={onHide} /> : <div className="flex-1" />}
        <div className="space-y-2 border-t border-line pt-3">
          <Preferences />
          <Button look="bare" icon="out" className="w-full justify-start" onClick={() => setKey(null)}>
            {t.signIn.out}
          </Button>
        </div>
      </nav>
    </>
  );
}
