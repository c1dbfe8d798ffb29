import { useEffect, useReducer, useState } from "react";

import type { ApiError } from "@/lib/apiError";
import { follow } from "@/lib/follow";
import { apply, NO_EVENTS, type RunView } from "@/lib/runState";

export interface Followed {
  view: RunView;
  broken: boolean;
  refused: ApiError | null;
}

/** A run's answer as it comes. Mount it with the run's id as its key: one hook follows one run. */
export function useRun(run: string | null): Followed {
  const [view, dispatch] = useReducer(apply, NO_EVENTS);
  const [broken, onBroken] = useState(false);
  const [refused, onRefused] = useState<ApiError | null>(null);
  useEffect(() => {
    if (run === null) return;
    const leave = new AbortController();
    void follow(run, { onEvents: dispatch, onBroken, onRefused }, leave.signal);
    return () => leave.abort();
  }, [run]);
  return { view, broken, refused };
}
