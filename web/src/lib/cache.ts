import { QueryClient } from "@tanstack/react-query";

import { ApiError } from "./apiError";

/** What one person was told. Another key gets another one. */
export function newCache(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 5_000,
        networkMode: "always", // the server is usually this very machine
        retry: (count, error) => count < 5 && error instanceof ApiError && error.passing,
        retryDelay: (count) => Math.min(4_000, 300 * 2 ** count),
      },
      mutations: { networkMode: "always" },
    },
  });
}
