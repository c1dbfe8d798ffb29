import { useState } from "react";

import { Button } from "@/components/Button";
import { Icon } from "@/components/Icon";
import { ErrorNotice, Notice } from "@/components/Notice";
import { ApiError, apiErrorOf } from "@/lib/apiError";
import { check } from "@/lib/http";
import { setKey } from "@/lib/key";
import { useWords } from "@/lib/words";

export function SignIn() {
  const t = useWords();
  const [key, type] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);

  async function enter() {
    const given = key.trim();
    if (!given || busy) return;
    setBusy(true);
    setError(null);
    try {
      if (!/^[\x21-\x7e]+$/.test(given)) throw apiErrorOf(401, "", null); // could not even be sent
      await check(given); // nothing is stored before the server knows the key
      setKey(given);
    } catch (refused) {
      setError(refused);
    } finally {
      setBusy(false);
    }
  }

  return (
    <main className="flex flex-1 items-center justify-center p-6 pb-24">
      <form
        className="w-full max-w-sm space-y-5"
        onSubmit={(event) => {
          event.preventDefault();
          void enter();
        }}
      >
        <div className="flex size-12 items-center justify-center rounded-2xl bg-accent text-on-accent">
          <Icon name="leaf" className="size-7" />
        </div>
        <div className="space-y-1.5">
          <h1 className="text-2xl font-semibold tracking-tight">{t.signIn.title}</h1>
          <p className="text-muted">{t.signIn.lead}</p>
        </div>
        <div className="space-y-1.5">
          <label htmlFor="key" className="text-sm font-medium">
            {t.signIn.key}
          </label>
          <input
            id="key"
            type="password"
            autoComplete="current-password"
            autoFocus
            spellCheck={false}
            value={key}
            onChange={(event) => type(event.target.value)}
            placeholder="pk_…"
            aria-describedby="key-hint"
            className="h-11 w-full rounded-lg border border-line bg-surface px-3 placeholder:text-faint"
          />
          <p id="key-hint" className="text-xs text-muted">
            {t.signIn.hint}
          </p>
        </div>
        {error instanceof ApiError && error.status === 401 ? (
          <div role="alert">
            <Notice tone="danger" icon="warn">
              {t.signIn.refused}
            </Notice>
          </div>
        ) : (
          error !== null && <ErrorNotice error={error} />
        )}
        <Button type="submit" look="primary" className="h-11 w-full" disabled={busy || !key.trim()}>
          {busy ? t.signIn.checking : t.signIn.submit}
        </Button>
      </form>
    </main>
  );
}
