import { describe, expect, test } from "vitest";
import { alongSequence, fallOf, lookAt, looksOf, type Looked, ratesOf, shortNames } from "./meta";

const row = (step: number, more: Partial<Looked> = {}): Looked => ({ step, val_bpb: null, ...more });
const looks: Looked[] = [
  row(1, { val_bpb: 7.7, inner_loss: [5, 4.5], inner_loss_off: [5, 5.1], inner_rates: { "blocks.0.up.weight": 3, "blocks.0.gate.weight": 3 } }),
  row(100, { val_bpb: 0.8, inner_loss: [5, 2], inner_loss_off: [5, 5.2], inner_rates: { "blocks.0.up.weight": 2.9, "blocks.0.gate.weight": 6 } }),
];

describe("looks", () => {
  test("are the rows with held-out figures", () => {
    expect(looksOf([looks[0] as Looked, row(10), looks[1] as Looked, row(110)])).toEqual(looks);
  });
  test("by step: at or before it, else the first; the last without a step", () => {
    expect(lookAt(looks, 99)).toBe(looks[0]);
    expect(lookAt(looks, 100)).toBe(looks[1]);
    expect(lookAt(looks, 0)).toBe(looks[0]);
    expect(lookAt(looks, null)).toBe(looks[1]);
    expect(lookAt([], null)).toBeUndefined();
  });
});

describe("along a sequence", () => {
  test("the look on show, with updates off, and the first look", () => {
    expect(alongSequence(looks, looks[1])).toEqual([
      { name: "after", x: [1, 2], y: [5, 2] },
      { name: "off", x: [1, 2], y: [5, 5.2] },
      { name: "before", x: [1, 2], y: [5, 4.5] },
    ]);
  });
  test("the first look alone is not drawn twice, and a text run has no curve", () => {
    expect(alongSequence(looks, looks[0]).map((curve) => curve.name)).toEqual(["after", "off"]);
    expect(alongSequence([row(1, { val_bpb: 2 })], row(1))).toEqual([]);
  });
  test("falls from the first chunk to the last", () => {
    expect(fallOf([5, 4, 2])).toBe(3);
    expect(fallOf([5])).toBeNull();
    expect(fallOf(null)).toBeNull();
  });
});

describe("inner rates", () => {
  test("one curve a tensor, what moved most first", () => {
    const rates = ratesOf(looks);
    expect(rates.map((rate) => rate.short)).toEqual(["gate", "up"]);
    expect(rates[0]).toMatchObject({ tensor: "blocks.0.gate.weight", first: 3, last: 6, x: [1, 100], y: [3, 6] });
  });
  test("none where they are fixed", () => expect(ratesOf([row(1, { val_bpb: 2 })])).toEqual([]));
  test("names lose what they share, and never all", () => {
    expect(shortNames(["a.0.up.weight", "a.1.up.weight"])).toEqual(["0", "1"]);
    expect(shortNames(["a.weight", "a.bias"])).toEqual(["weight", "bias"]);
    expect(shortNames(["a.b.weight", "a.b"])).toEqual(["b.weight", "b"]);
    expect(shortNames(["x.up.weight"])).toEqual(["up.weight"]);
  });
});
