import { memo, useMemo } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";

import { citeMarks, citeNumber } from "@/lib/citeMarks";

export interface Cited {
  label: string;
  open: () => void;
}

const PLUGINS = [remarkGfm, citeMarks];
const LEFT_OUT = ["img"]; // an answer never makes the browser fetch anything

/** A model's text. Its HTML is text, its images are dropped, its links open elsewhere; `[n]` opens passage n when there is one. */
export const Markdown = memo(function Markdown({ text, cited }: { text: string; cited: (number: number) => Cited | null }) {
  const components = useMemo<Components>(
    () => ({
      a: ({ href, children }) => {
        const number = citeNumber(href);
        if (number === null) {
          return (
            <a href={href} target="_blank" rel="noopener noreferrer nofollow">
              {children}
            </a>
          );
        }
        const source = cited(number);
        if (!source) return <>[{number}]</>;
        return (
          <button
            type="button"
            onClick={source.open}
            aria-label={source.label}
            title={source.label}
            className="mx-0.5 inline-flex h-5 min-w-5 -translate-y-px items-center justify-center rounded-md bg-soft px-1 align-baseline text-xs font-semibold text-accent hover:bg-accent hover:text-on-accent"
          >
            {number}
          </button>
        );
      },
    }),
    [cited],
  );
  return (
    <div className="prose">
      <ReactMarkdown remarkPlugins={PLUGINS} components={components} disallowedElements={LEFT_OUT} unwrapDisallowed>
        {text}
      </ReactMarkdown>
    </div>
  );
});
