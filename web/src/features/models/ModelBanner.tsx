import { Notice } from "@/components/Notice";
import { ProgressBar } from "@/components/ProgressBar";
import { ApiError } from "@/lib/apiError";
import type { ModelState } from "@/lib/types";
import { useModels } from "@/lib/useModels";
import { useWords, type Words } from "@/lib/words";

function percent(model: ModelState): number | null {
  return model.progress === null ? null : Math.floor(model.progress * 100);
}

function words(model: ModelState, t: Words): [string, string] | null {
  switch (model.phase) {
    case "downloading":
      return [t.models.downloading(percent(model)), t.models.searchWorks];
    case "loading":
      return [t.models.loading(percent(model)), t.models.searchWorks];
    case "missing":
      return [t.models.missing, t.models.missingDo];
    case "failed":
      return [t.models.failed, t.models.failedDo];
    default:
      return null;
  }
}

/** What stands between a question and its answer, said above the page; nothing when all is well. */
export function ModelBanner() {
  const t = useWords();
  const models = useModels();
  const shown = () => {
    if (models.isError) {
      const gone = models.error instanceof ApiError && models.error.code === "unreachable";
      return (
        <Notice tone="warn" icon="warn">
          {gone ? t.models.offline : t.models.starting}
        </Notice>
      );
    }
    const language = models.data?.find((model) => model.role === "language");
    const said = language && words(language, t);
    if (language && said) {
      const moving = language.phase === "downloading" || language.phase === "loading";
      return (
        <Notice tone={moving ? "calm" : "warn"} icon={moving ? "leaf" : "warn"}>
          <strong className="font-semibold">{said[0]}</strong> {said[1]}
          {language.phase === "failed" && language.detail && <span className="block text-xs break-words">{language.detail}</span>}
          {moving && (
            <div className="mt-2">
              <ProgressBar value={language.progress} label={said[0]} />
            </div>
          )}
        </Notice>
      );
    }
    const embedding = models.data?.find((model) => model.role === "embedding");
    if (!embedding || !words(embedding, t)) return null;
    return (
      <Notice tone="calm" icon="leaf">
        {t.models.embedding}
      </Notice>
    );
  };
  const banner = shown();
  return (
    <div role="status" className={banner ? "mx-auto w-full max-w-3xl px-4 pt-3" : ""}>
      {banner}
    </div>
  );
}
