import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { api, keys } from "@/lib/api";
import { notForThisKey } from "@/lib/apiError";
import { useStanding } from "@/lib/live/Live";

const BY_CLOCK_MS = 15_000; // while there is no socket; beside one, each change is told
const ENDED_MAX = 20;

function useFresh<T>(queryKey: readonly string[], queryFn: () => Promise<T>) {
  const standing = useStanding();
  return useQuery({
    queryKey,
    queryFn,
    enabled: (query) => !notForThisKey(query.state.error),
    refetchInterval: standing ? false : BY_CLOCK_MS,
  });
}

/** What fires now. */
export function useFiring() {
  return useFresh(keys.firing, api.firing);
}

/** What is beside it in the list: what ended last, what is kept quiet, where messages go. */
export function useBeside() {
  return {
    ended: useFresh(keys.ended, () => api.ended(ENDED_MAX)),
    silences: useFresh(keys.silences, api.silences),
    channels: useFresh(keys.channels, api.channels),
  };
}

/** Something that is done about alerts; it is over once what is shown was read anew. */
export function useAct() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (work: () => Promise<unknown>) => work(),
    onSettled: () => cache.invalidateQueries({ queryKey: keys.alerts }),
  });
}
