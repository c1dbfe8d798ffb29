import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { Button, IconButton } from "@/components/Button";
import { ErrorNotice } from "@/components/Notice";
import { api, keys } from "@/lib/api";
import type { Project } from "@/lib/types";
import { go } from "@/lib/url";
import { useWords } from "@/lib/words";

export function ProjectPicker({ projects, chosen }: { projects: Project[]; chosen: Project | null }) {
  const t = useWords();
  const cache = useQueryClient();
  const [naming, setNaming] = useState(false);
  const [name, setName] = useState("");
  const create = useMutation({
    mutationFn: api.createProject,
    onSuccess: async (made) => {
      setNaming(false);
      setName("");
      await cache.invalidateQueries({ queryKey: keys.projects });
      go({ project: made.id, chat: null, passage: null, view: "documents", state: null });
    },
  });

  return (
    <div className="space-y-2">
      <div className="flex items-center gap-1">
        <label htmlFor="project" className="sr-only">
          {t.projects.label}
        </label>
        <select
          id="project"
          value={chosen?.id ?? ""}
          onChange={(event) => go({ project: event.target.value, chat: null, passage: null, state: null })}
          className="h-9 min-w-0 flex-1 rounded-lg border border-line bg-surface px-2.5 text-sm font-medium text-ink"
        >
          {projects.map((project) => (
            <option key={project.id} value={project.id}>
              {project.name}
            </option>
          ))}
        </select>
        <IconButton icon="plus" label={t.projects.create} aria-expanded={naming} onClick={() => setNaming(!naming)} />
      </div>
      {naming && (
        <form
          className="appear flex gap-1"
          onSubmit={(event) => {
            event.preventDefault();
            if (name.trim()) create.mutate(name.trim());
          }}
          onKeyDown={(event) => {
            if (event.key !== "Escape") return;
            event.stopPropagation();
            setNaming(false);
          }}
        >
          <input
            autoFocus
            maxLength={120}
            value={name}
            onChange={(event) => setName(event.target.value)}
            aria-label={t.projects.nameLabel}
            placeholder={t.projects.nameLabel}
            className="h-9 min-w-0 flex-1 rounded-lg border border-line bg-surface px-2.5 text-sm placeholder:text-faint"
          />
          <Button type="submit" look="primary" disabled={create.isPending || !name.trim()}>
            {t.projects.save}
          </Button>
        </form>
      )}
      {create.isError && <ErrorNotice error={create.error} />}
    </div>
  );
}
