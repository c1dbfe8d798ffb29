import { Button, IconButton } from "@/components/Button";
import { ProgressBar } from "@/components/ProgressBar";
import { errorWords } from "@/lib/errorWords";
import { useWords } from "@/lib/words";

import { dismissUpload, retryUpload, type Upload } from "./uploads";

export function UploadRow({ upload }: { upload: Upload }) {
  const t = useWords();
  const percent = Math.floor(upload.sent * 100);
  const said = upload.error ? errorWords(upload.error, t) : null;
  return (
    <li className="flex flex-wrap items-center gap-x-3 gap-y-1 px-4 py-2.5">
      <span className="min-w-0 flex-1 truncate font-medium">{upload.file.name}</span>
      {said ? (
        <>
          <Button onClick={() => retryUpload(upload.id)}>{t.documents.retry}</Button>
          <IconButton icon="close" label={t.documents.dismiss(upload.file.name)} onClick={() => dismissUpload(upload.id)} />
          <p className="w-full text-sm text-danger">
            {t.documents.notSent}: {said.what} {said.todo} {said.detail}
          </p>
        </>
      ) : (
        <>
          <span className="text-sm text-muted">{upload.state === "waiting" ? t.documents.waiting : t.documents.sending(percent)}</span>
          <div className="w-full">
            <ProgressBar value={upload.sent} label={`${upload.file.name}: ${t.documents.sending(percent)}`} />
          </div>
        </>
      )}
    </li>
  );
}
