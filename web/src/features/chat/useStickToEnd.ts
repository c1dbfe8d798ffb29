import { useEffect, useRef } from "react";

const NEAR = 80; // pixels from the end that still count as reading it

/** Keeps the end in view while an answer grows, unless the reader scrolled up or edits a question. */
export function useStickToEnd(count: number) {
  const box = useRef<HTMLDivElement>(null);
  const end = useRef<HTMLDivElement>(null);
  const stuck = useRef(true);

  useEffect(() => {
    const area = box.current;
    if (!area) return;
    const toEnd = () => {
      const typing = document.activeElement instanceof HTMLTextAreaElement && area.contains(document.activeElement);
      if (stuck.current && !typing) area.scrollTop = area.scrollHeight;
    };
    const onScroll = () => {
      stuck.current = area.scrollHeight - area.scrollTop - area.clientHeight < NEAR;
    };
    area.addEventListener("scroll", onScroll, { passive: true });
    const grown = new MutationObserver(toEnd);
    grown.observe(area, { childList: true, subtree: true, characterData: true });
    return () => {
      area.removeEventListener("scroll", onScroll);
      grown.disconnect();
    };
  }, []);
  useEffect(() => {
    stuck.current = true;
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [count]);
  return { box, end };
}
