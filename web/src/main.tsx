import "./index.css";

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "./app";
import { Boundary } from "./components/Boundary";
import { ApiError } from "./lib/apiError";
import { takeKeyFromAddress } from "./lib/key";
import { followSystemTheme } from "./lib/theme";
import { applyLanguage } from "./lib/words";

takeKeyFromAddress();
followSystemTheme();
applyLanguage();

const cache = new QueryClient({
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

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Boundary>
      <QueryClientProvider client={cache}>
        <App />
      </QueryClientProvider>
    </Boundary>
  </StrictMode>,
);
