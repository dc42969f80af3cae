import { describe, expect, it } from "vitest";
import { readSse, SseParser } from "./sse";

describe("SseParser", () => {
  it("reads events and data", () => {
    const parser = new SseParser();
    expect(parser.push('event: token\ndata: {"text":"a"}\n\ndata: plain\n\n')).toEqual([
      { event: "token", data: '{"text":"a"}' },
      { event: "message", data: "plain" },
    ]);
  });

  it("gives the same messages wherever the text is cut", () => {
    const text = ": hello\r\n\r\nevent: chunk\r\nid: 7\r\ndata: one\r\ndata: two\r\n\r\nretry: 5\nevent: done\ndata:\n\n";
    const whole = new SseParser().push(text);
    expect(whole).toEqual([
      { event: "chunk", data: "one\ntwo" },
      { event: "done", data: "" },
    ]);
    for (let cut = 0; cut <= text.length; cut += 1) {
      const parser = new SseParser();
      expect([...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))]).toEqual(whole);
    }
    const slow = new SseParser();
    expect([...text].flatMap((letter) => slow.push(letter))).toEqual(whole);
  });

  it("removes one space only, and takes a lone CR as a line's end", () => {
    expect(new SseParser().push("data:  two\rdata:none\r\r ")).toEqual([{ event: "message", data: " two\nnone" }]);
  });

  it("says nothing for comments, keep-alives and an event without data", () => {
    expect(new SseParser().push(": ping\n\nevent: x\n\n\n\n")).toEqual([]);
  });
});

describe("readSse", () => {
  it("joins characters that were cut between bytes and drops an incomplete last message", async () => {
    const raw = new TextEncoder().encode("data: naïve é\n\ndata: lost");
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of raw) controller.enqueue(new Uint8Array([byte]));
        controller.close();
      },
    });
    const seen = [];
    for await (const message of readSse(body)) seen.push(message.data);
    expect(seen).toEqual(["naïve é"]);
  });
});
