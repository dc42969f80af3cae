/** Server-sent events over `fetch`, so that a POST can stream too. */

export interface SseMessage {
  event: string;
  data: string;
}

/** Feed it text in any pieces; it gives back the messages that are complete. */
export class SseParser {
  private rest = "";
  private event = "";
  private data: string[] = [];

  push(text: string): SseMessage[] {
    const messages: SseMessage[] = [];
    // A lone CR at the end may be the first half of CRLF: keep it for the next piece.
    const buffer = this.rest + text;
    const usable = buffer.endsWith("\r") ? buffer.length - 1 : buffer.length;
    const pattern = /\r\n|\r|\n/g;
    let start = 0;
    for (let hit = pattern.exec(buffer); hit && hit.index < usable; hit = pattern.exec(buffer)) {
      const message = this.line(buffer.slice(start, hit.index));
      if (message) messages.push(message);
      start = hit.index + hit[0].length;
    }
    this.rest = buffer.slice(start);
    return messages;
  }

  private line(line: string): SseMessage | null {
    if (line === "") {
      const message = this.data.length ? { event: this.event || "message", data: this.data.join("\n") } : null;
      this.event = "";
      this.data = [];
      return message;
    }
    if (line.startsWith(":")) return null;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.event = value;
    else if (field === "data") this.data.push(value);
    return null;
  }
}

/** The messages of a streaming response, until it ends. An incomplete last message is dropped, as the standard says. */
export async function* readSse(body: ReadableStream<Uint8Array>): AsyncGenerator<SseMessage> {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
