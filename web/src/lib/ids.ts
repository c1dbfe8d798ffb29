/** An identifier as the server makes them: a prefix and a UUID version 7, so that ids sort by birth. */
export function newId(prefix: string): string {
  const random = crypto.getRandomValues(new Uint8Array(10));
  const time = Date.now().toString(16).padStart(12, "0");
  random[0] = (random[0]! & 0x0f) | 0x70;
  random[2] = (random[2]! & 0x3f) | 0x80;
  return `${prefix}_${time}${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
