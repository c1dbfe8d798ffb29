import { useQuery } from "@tanstack/react-query";

import { api, keys } from "./api";
import type { ModelState } from "./types";

const SETTLED: readonly ModelState["phase"][] = ["ready", "unloaded"];

/** Where the models are: asked often while one is on its way, seldom after. */
export function useModels() {
  return useQuery({
    queryKey: keys.models,
    queryFn: api.models,
    refetchInterval: (query) => (query.state.data?.every((model) => SETTLED.includes(model.phase)) && query.state.status === "success" ? 20_000 : 2_000),
    retry: false,
  });
}
