import { useSyncExternalStore } from "react";

/** Whether the window is narrower than so many pixels. */
export function useNarrow(width: number): boolean {
  const asked = `(width < ${width}px)`;
  return useSyncExternalStore(
    (tell) => {
      const media = matchMedia(asked);
      media.addEventListener("change", tell);
      return () => media.removeEventListener("change", tell);
    },
    () => matchMedia(asked).matches,
  );
}
