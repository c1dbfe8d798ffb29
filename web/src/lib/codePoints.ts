/** Spans from the server count Unicode code points; JavaScript's strings count UTF-16 units. */

/** The text before, within and after a span, all in code points. */
export function splitAt(text: string, start: number, end: number): [string, string, string] {
  const points = Array.from(text);
  const from = Math.max(0, Math.min(start, points.length));
  const to = Math.max(from, Math.min(end, points.length));
  return [points.slice(0, from).join(""), points.slice(from, to).join(""), points.slice(to).join("")];
}
