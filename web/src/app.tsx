import { QueryClientProvider, useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";

import { Boundary } from "./components/Boundary";
import { IconButton } from "./components/Button";
import { ErrorNotice } from "./components/Notice";
import { AlertBell } from "./features/alerts/AlertBell";
import { AlertPanel } from "./features/alerts/AlertPanel";
import { AlertToast } from "./features/alerts/AlertToast";
import { Chat } from "./features/chat/Chat";
import { Documents } from "./features/documents/Documents";
import { ModelBanner } from "./features/models/ModelBanner";
import { Passage } from "./features/passage/Passage";
import { Search } from "./features/search/Search";
import { SignIn } from "./features/signin/SignIn";
import { api, keys } from "./lib/api";
import { newCache } from "./lib/cache";
import { useKey } from "./lib/key";
import { Live } from "./lib/live/Live";
import type { Project } from "./lib/types";
import { go, usePlace } from "./lib/url";
import { useNarrow } from "./lib/useNarrow";
import { useWords } from "./lib/words";
import { Preferences } from "./preferences";
import { Sidebar } from "./sidebar";

export function App() {
  const key = useKey();
  if (key !== null) return <Keyed key={key} />;
  return (
    <div className="flex min-h-full flex-col">
      <div className="flex justify-end p-4">
        <Preferences />
      </div>
      <SignIn />
    </div>
  );
}

/** The house of one key: the next person sees nothing that this one was told. */
function Keyed() {
  const [cache] = useState(newCache);
  return (
    <QueryClientProvider client={cache}>
      <Live>
        <House />
      </Live>
    </QueryClientProvider>
  );
}

/** What is open when the address names none: the one called default, or the first. */
function chosenOf(projects: Project[], wanted: string | null): Project | null {
  return projects.find((project) => project.id === wanted || project.name === wanted) ?? projects.find((project) => project.name === "default") ?? projects[0] ?? null;
}

function House() {
  const t = useWords();
  const place = usePlace();
  const [menu, setMenu] = useState(false);
  const [alerts, setAlerts] = useState(false);
  const opener = useRef<HTMLDivElement>(null);
  const bell = useRef<HTMLButtonElement>(null);
  const narrow = useNarrow(768);
  const under = { menu: narrow && menu, passage: useNarrow(1024) && place.passage !== null }; // what lies over the rest
  const hideMenu = () => {
    setMenu(false);
    if (under.menu) requestAnimationFrame(() => opener.current?.querySelector("button")?.focus());
  };
  const hideAlerts = () => {
    setAlerts(false);
    bell.current?.focus();
  };
  const projects = useQuery({ queryKey: keys.projects, queryFn: api.projects });
  const project = chosenOf(projects.data ?? [], place.project);
  const title = { chat: t.menu.chat, documents: t.menu.documents, search: t.menu.search }[place.view];
  useEffect(() => {
    document.title = `${title} · ${t.name}`;
  }, [title, t]);

  const ring = <AlertBell ref={bell} open={alerts} onOpen={() => setAlerts(true)} />;
  return (
    <div className="flex h-full">
      <a href="#content" inert={under.menu || under.passage} className="sr-only z-50 rounded-lg bg-accent px-3 py-2 text-on-accent focus:not-sr-only focus:absolute focus:top-2 focus:left-2">
        {t.skip}
      </a>
      <Sidebar projects={projects.data ?? []} project={project} place={place} shown={menu} inert={under.passage} onHide={hideMenu} bell={narrow ? null : ring} />
      <div inert={under.menu || under.passage} className="flex min-w-0 flex-1 flex-col">
        <div ref={opener} className="flex items-center gap-2 border-b border-line px-2 py-1.5 md:hidden">
          <IconButton icon="menu" label={t.menu.open} aria-expanded={menu} onClick={() => setMenu(true)} />
          <span className="min-w-0 flex-1 truncate font-semibold">{project?.name ?? t.name}</span>
          {narrow && ring}
        </div>
        <ModelBanner />
        <main id="content" tabIndex={-1} className={`flex min-h-0 flex-1 flex-col outline-none ${place.view === "chat" ? "" : "overflow-y-auto"}`}>
          {projects.isPending && <p className="p-6 text-muted">{t.loading}</p>}
          {projects.isError && !projects.data && (
            <div className="mx-auto w-full max-w-3xl p-6">
              <ErrorNotice error={projects.error} onRetry={() => void projects.refetch()} />
            </div>
          )}
          {project && (
            <Boundary key={place.view}>
              {place.view === "chat" && <Chat key={project.id} project={project} chat={place.chat} />}
              {place.view === "documents" && <Documents key={project.id} project={project} state={place.state} />}
              {place.view === "search" && <Search key={`${project.id} ${place.query}`} project={project.id} text={place.query} />}
            </Boundary>
          )}
        </main>
      </div>
      {place.passage && (
        <Boundary key={`${place.passage.document}:${place.passage.start}:${place.passage.end}`}>
          <Passage span={place.passage} onClose={() => go({ passage: null })} />
        </Boundary>
      )}
      {alerts && <AlertPanel onClose={hideAlerts} />}
      <AlertToast shown={alerts} onShow={() => setAlerts(true)} />
    </div>
  );
}
