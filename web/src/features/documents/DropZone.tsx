import { useRef, useState } from "react";

import { Button } from "@/components/Button";
import { Icon } from "@/components/Icon";
import { useWords } from "@/lib/words";

import { droppedFiles } from "./droppedFiles";

export function DropZone({ onFiles }: { onFiles: (files: (File | null)[]) => void }) {
  const t = useWords();
  const [over, setOver] = useState(false);
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);

  function chosen(input: HTMLInputElement) {
    onFiles(Array.from(input.files ?? []));
    input.value = ""; // the same file may be chosen again
  }

  return (
    <div
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false);
      }}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        void droppedFiles(event.dataTransfer).then(onFiles);
      }}
      className={`flex flex-col items-center gap-3 rounded-2xl border-2 border-dashed px-6 py-8 text-center transition-colors ${over ? "border-accent bg-soft" : "border-line bg-surface"}`}
    >
      <Icon name="upload" className="size-7 text-accent" />
      <div>
        <p className="font-medium">{over ? t.documents.dropNow : t.documents.drop}</p>
        <p className="text-sm text-muted">{t.documents.kinds}</p>
      </div>
      <div className="flex flex-wrap justify-center gap-2">
        <Button icon="file" onClick={() => files.current?.click()}>
          {t.documents.choose}
        </Button>
        <Button icon="folder" onClick={() => folder.current?.click()}>
          {t.documents.folder}
        </Button>
      </div>
      <input ref={files} type="file" multiple hidden data-testid="files" onChange={(event) => chosen(event.currentTarget)} />
      <input ref={folder} type="file" multiple hidden onChange={(event) => chosen(event.currentTarget)} {...{ webkitdirectory: "" }} />
    </div>
  );
}
