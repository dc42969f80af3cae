import { describe, expect, it } from "vitest";
import { ago, axisTick, beginning, bytes, count, duration, figure, fixed, MISSING, percent, plural, shortHash, signed, signedFigure, whole } from "./format";

describe("numbers", () => {
  it("prints a missing or non-finite value as a dash", () => {
    for (const print of [fixed, signed, figure, count, whole, bytes, duration, percent]) {
      expect(print(null)).toBe(MISSING);
      expect(print(undefined)).toBe(MISSING);
      expect(print(Number.NaN)).toBe(MISSING);
      expect(print(Number.POSITIVE_INFINITY)).toBe(MISSING);
    }
  });

  it("keeps decimals and a real minus sign", () => {
    expect(fixed(1.5)).toBe("1.500");
    expect(fixed(-2, 1)).toBe("−2.0");
    expect(signed(0.12)).toBe("+0.120");
    expect(signed(-0.12)).toBe("−0.120");
  });

  it("gives no sign to what rounds to zero", () => {
    expect(signed(-0.0001)).toBe("0.000");
    expect(signed(0)).toBe("0.000");
  });

  it("keeps three significant digits over any range", () => {
    expect(figure(0)).toBe("0");
    expect(figure(1.23456)).toBe("1.23");
    expect(figure(12.3456)).toBe("12.3");
    expect(figure(12345.6)).toBe("12346");
    expect(figure(0.01234)).toBe("0.0123");
    expect(figure(0.0000123)).toBe("1.23e−5");
    expect(figure(-4.5e8)).toBe("−4.50e8");
  });

  it("shortens large counts", () => {
    expect(count(950)).toBe("950");
    expect(count(9_999)).toBe("9\u202f999");
    expect(count(12_345)).toBe("12.3k");
    expect(count(854_321)).toBe("854k");
    expect(count(1_234_567)).toBe("1.23M");
    expect(whole(1_234_567)).toBe("1\u202f234\u202f567");
    expect(plural(1, "turn")).toBe("1 turn");
    expect(plural(0, "turn")).toBe("0 turns");
    expect(percent(0.256)).toBe("26 %");
  });

  it("cuts a long text at lines or characters, but not for a few", () => {
    expect(beginning("short")).toBeNull();
    expect(beginning("x".repeat(710))).toBeNull();
    expect(beginning("x".repeat(2000))).toBe(`${"x".repeat(700)} …`);
    expect(beginning("a line of verse\n".repeat(40))).toBe(`${"a line of verse\n".repeat(7).trimEnd()} …`);
  });

  it("keeps ticks short", () => {
    expect([0, 0.30000000000000004, -2.5, 5000, 30000, 12500, 2e6].map(axisTick)).toEqual(["0", "0.3", "−2.5", "5000", "30k", "12.5k", "2M"]);
  });

  it("prints sizes", () => {
    expect(bytes(0)).toBe("0 B");
    expect(bytes(999)).toBe("999 B");
    expect(bytes(54_321)).toBe("54.3 kB");
    expect(bytes(4_000_000)).toBe("4.00 MB");
  });
});

describe("times", () => {
  it("prints durations in at most two units", () => {
    expect(duration(0.42)).toBe("0.42 s");
    expect(duration(9.46)).toBe("9.5 s");
    expect(duration(59.4)).toBe("59 s");
    expect(duration(59.6)).toBe("1 min 00 s");
    expect(duration(185)).toBe("3 min 05 s");
    expect(duration(7620)).toBe("2 h 07 min");
    expect(duration(200_000)).toBe("2 d 7 h");
    expect(duration(-1)).toBe(MISSING);
  });

  it("says how long ago", () => {
    const now = Date.parse("2026-03-12T12:00:00Z");
    expect(ago("2026-03-12T11:59:50Z", now)).toBe("just now");
    expect(ago("2026-03-12T12:00:09Z", now)).toBe("just now");
    expect(ago("2026-03-12T11:56:00Z", now)).toBe("4 min ago");
    expect(ago("2026-03-12T09:00:00Z", now)).toBe("3 h ago");
    expect(ago("2026-03-11T09:00:00Z", now)).toBe("yesterday");
    expect(ago("2026-03-01T09:00:00Z", now)).toBe("1 Mar");
    expect(ago("never", now)).toBe(MISSING);
  });

  it("shortens a hash", () => expect(shortHash("0123456789abcdef")).toBe("01234567"));
});

it("signedFigure", () => {
  expect([signedFigure(0.0123), signedFigure(-4.1e-6), signedFigure(0), signedFigure(null)]).toEqual(["+0.0123", "−4.10e−6", "0", "–"]);
});
