import type { Language } from "./words";

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;

/** 1,536 bytes as "1.5 kB", in the reader's own way of writing numbers. */
export function bytes(size: number, language: Language): string {
  let step = 0;
  let value = size;
  while (value >= 1000 && step < UNITS.length - 1) {
    value /= 1000;
    step += 1;
  }
  return new Intl.NumberFormat(language, { style: "unit", unit: UNITS[step], unitDisplay: "short", maximumFractionDigits: value < 10 && step > 0 ? 1 : 0 }).format(value);
}

export function number(value: number, language: Language): string {
  return new Intl.NumberFormat(language).format(value);
}

/** A moment, in seconds since 1970, as the reader's clock and calendar say it: "26 Nov, 09:05". */
export function moment(at: number, language: Language): string {
  return new Intl.DateTimeFormat(language, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }).format(at * 1000);
}
