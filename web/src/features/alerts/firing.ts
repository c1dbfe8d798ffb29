import type { Alert, Severity } from "@/lib/types";

const RISING: readonly Severity[] = ["debug", "info", "warning", "critical"];

/** Kept quiet: by a silence, or by another alert that it follows from. */
export function quiet(alert: Alert): boolean {
  return alert.silenced_by !== null || alert.inhibited_by !== null;
}

/** What the bell says: how many fire and are not kept quiet, the worst of them, and whether somebody has seen them all. */
export interface Count {
  count: number;
  worst: Severity;
  seen: boolean;
}

export function countOf(firing: readonly Alert[]): Count {
  const loud = firing.filter((alert) => !quiet(alert));
  const fresh = loud.filter((alert) => alert.acknowledged_at === null);
  return { count: loud.length, worst: worstOf(fresh.length > 0 ? fresh : loud), seen: fresh.length === 0 };
}

function worstOf(alerts: readonly Alert[]): Severity {
  return RISING[Math.max(0, ...alerts.map((alert) => RISING.indexOf(alert.severity)))]!;
}

/** What needs somebody first: what is not kept quiet, what nobody has seen, the worst, the newest. */
export function inOrder(firing: readonly Alert[]): Alert[] {
  const place = (alert: Alert) => [quiet(alert) ? 1 : 0, alert.acknowledged_at === null ? 0 : 1, -RISING.indexOf(alert.severity), -alert.first_seen];
  return [...firing].sort((a, b) => {
    const [one, other] = [place(a), place(b)];
    const at = one.findIndex((value, index) => value !== other[index]);
    return at < 0 ? 0 : one[at]! - other[at]!;
  });
}

/** What was told of critical alerts so far: `firing` as it was read last, and the ids of those that came since and were not looked at. */
export interface Heard {
  firing: readonly Alert[] | null;
  news: readonly string[];
}

export const UNHEARD: Heard = { firing: null, news: [] };

function presses(alert: Alert): boolean {
  return alert.severity === "critical" && alert.acknowledged_at === null && !quiet(alert);
}

/** After another look at what fires. What fires when the page begins is no news: the bell says it. What gets critical, or is critical
 * when a silence ends, is. While the list is `shown`, nothing is. */
export function hear(before: Heard, firing: readonly Alert[], shown: boolean): Heard {
  if (firing === before.firing && !(shown && before.news.length > 0)) return before;
  const pressing = firing.filter(presses).map((alert) => alert.id);
  if (before.firing === null || shown) return { firing, news: [] };
  const known = new Set(before.firing.filter(presses).map((alert) => alert.id));
  return { firing, news: pressing.filter((id) => !known.has(id) || before.news.includes(id)) };
}
