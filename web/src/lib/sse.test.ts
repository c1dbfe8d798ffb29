import { describe, expect, it } from "vitest";

import { SseParser } from "./sse";

const STREAM = 'id: 1\nevent: delta\ndata: {"text":"¿Qué tal, señor? 🌿"}\n\n: keep-alive\r\n\r\ndata: one\r\ndata: two\r\n\r\ndata:tight\n\n';
const SENT = [
  { event: "delta", data: '{"text":"¿Qué tal, señor? 🌿"}' },
  { event: "message", data: "one\ntwo" },
  { event: "message", data: "tight" },
];

describe("the parser of server-sent events", () => {
  it("gives the same events however the bytes are cut", () => {
    const bytes = new TextEncoder().encode(STREAM);
    for (const size of [1, 2, 3, 5, 7, 64, bytes.length]) {
      const parser = new SseParser();
      const got = [];
      for (let at = 0; at < bytes.length; at += size) got.push(...parser.push(bytes.slice(at, at + size)));
      expect(got, `pieces of ${size}`).toEqual(SENT);
    }
  });

  it("holds an event back until its empty line came", () => {
    const parser = new SseParser();
    expect(parser.push(new TextEncoder().encode("data: half\n"))).toEqual([]);
    expect(parser.push(new TextEncoder().encode("\n"))).toEqual([{ event: "message", data: "half" }]);
  });
});
