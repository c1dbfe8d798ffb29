import { useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useState } from "react";

import { keys } from "../api";
import { News } from "./news";
import { followChanges } from "./socket";

const Standing = createContext(false);

/** Whether changes are told as they happen. Else whoever shows something asks again by the clock. */
export function useStanding(): boolean {
  return useContext(Standing);
}

/** Keeps what is shown within as it is on the server, by the page's one socket. */
export function Live({ children }: { children: ReactNode }) {
  const cache = useQueryClient();
  const [standing, setStanding] = useState(false);
  useEffect(() => {
    const leave = new AbortController();
    const news = new News(cache);
    const onStanding = (now: boolean) => {
      setStanding(now);
      void cache.invalidateQueries({ queryKey: keys.models }); // says whether the server is there; no change tells of a model
      if (now) void cache.invalidateQueries({ predicate: (query) => query.state.status === "error" });
    };
    void followChanges({ onChange: (change) => news.tell(change), onAnew: () => news.everything(), onStanding }, leave.signal);
    return () => leave.abort();
  }, [cache]);
  return <Standing value={standing}>{children}</Standing>;
}
