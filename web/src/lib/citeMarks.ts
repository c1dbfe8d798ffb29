/** A remark plugin: `[3]` in running text becomes a link to `#cite-3`. Code, links and their like are left alone. */

interface Node {
  type: string;
  value?: string;
  url?: string;
  children?: Node[];
}

const MARK = /\[(\d{1,3})\]/g;
const LEAVE = new Set(["link", "linkReference", "code", "inlineCode", "image", "definition"]);

function split(value: string): Node[] {
  const out: Node[] = [];
  let last = 0;
  for (const match of value.matchAll(MARK)) {
    if (match.index > last) out.push({ type: "text", value: value.slice(last, match.index) });
    out.push({ type: "link", url: `#cite-${match[1]}`, children: [{ type: "text", value: match[1]! }] });
    last = match.index + match[0].length;
  }
  if (last < value.length) out.push({ type: "text", value: value.slice(last) });
  return out;
}

function walk(node: Node): void {
  if (!node.children || LEAVE.has(node.type)) return;
  node.children = node.children.flatMap((child) => (child.type === "text" ? split(child.value ?? "") : [child]));
  for (const child of node.children) walk(child);
}

export function citeMarks() {
  return (tree: unknown) => walk(tree as Node);
}

export function citeNumber(href: string | undefined): number | null {
  const match = /^#cite-(\d+)$/.exec(href ?? "");
  return match ? Number(match[1]) : null;
}
