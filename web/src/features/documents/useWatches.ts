import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { api, keys } from "@/lib/api";
import { notForThisKey } from "@/lib/apiError";
import { useStanding } from "@/lib/live/Live";

/** How often: while a folder was not looked at yet, and after. No change tells of a look that found nothing new. */
const FIRST_LOOK_MS = 2_000;
const BY_CLOCK_MS = 15_000;
const BESIDE_SOCKET_MS = 60_000;

/** The folders that are watched for a project, and what is done about them. */
export function useWatches(project: string) {
  const cache = useQueryClient();
  const settledMs = useStanding() ? BESIDE_SOCKET_MS : BY_CLOCK_MS;
  const list = useQuery({
    queryKey: keys.watches,
    queryFn: api.watches,
    refetchInterval: (query) => {
      if (notForThisKey(query.state.error)) return false;
      return query.state.data?.some((state) => state.phase === "starting") ? FIRST_LOOK_MS : settledMs;
    },
  });
  const onSuccess = () => cache.invalidateQueries({ queryKey: keys.watches });
  return {
    list,
    folders: (list.data ?? []).filter((state) => state.watch.project_id === project),
    add: useMutation({ mutationFn: (path: string) => api.addWatch(path, project), onSuccess }),
    remove: useMutation({ mutationFn: (id: string) => api.removeWatch(id), onSuccess }),
  };
}
