/** Server-sent events out of a byte stream that may be cut anywhere. */

export interface Sent {
  event: string;
  data: string;
}

export class SseParser {
  private rest = "";
  private event = "";
  private data: string[] = [];
  private readonly decoder = new TextDecoder();

  /** The events that this piece completes. */
  push(piece: Uint8Array): Sent[] {
    this.rest += this.decoder.decode(piece, { stream: true });
    const out: Sent[] = [];
    for (;;) {
      const end = /\r\n|\n|\r(?=[^])/.exec(this.rest); // a lone CR at the very end may be half of CRLF
      if (!end) return out;
      const line = this.rest.slice(0, end.index);
      this.rest = this.rest.slice(end.index + end[0].length);
      const done = this.line(line);
      if (done) out.push(done);
    }
  }

  private line(line: string): Sent | null {
    if (line === "") {
      const sent = this.data.length > 0 ? { event: this.event || "message", data: this.data.join("\n") } : null;
      this.event = "";
      this.data = [];
      return sent;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return null; // a comment
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.data.push(value);
    else if (field === "event") this.event = value;
    return null;
  }
}
