import { describe, expect, it } from "vitest";
import type { RedteamAttempt, RedteamReport } from "../api/types";
import { budgetPlaces, command, defenceName, detectionAt, distinct, familyName, outcome, outcomeWords, reproduce, scoreName } from "./redteam";

const attempt = (changes: Partial<RedteamAttempt>) =>
  ({ goal: "pass", success_at: null, stopped: false, ...changes }) as RedteamAttempt;

it("names what it knows, and writes out what it does not", () => {
  expect(familyName("drip_shuffled")).toBe("Drip, shuffled");
  expect(familyName("phrase_borders")).toBe("Phrase borders");
  expect(scoreName("misalignment")).toBe("Canary misalignment");
  expect(defenceName("none")).toBe("Full policy");
  expect(defenceName("gate+spfw")).toBe("Without input gate and projection (SPFW)");
  expect(defenceName("all")).toBe("No defence");
});

describe("the command", () => {
  it("leaves out what was not given", () =>
    expect(command({ model: "toy", policy: "default", budget: 64 })).toBe("fastweights redteam --model toy --policy default --budget 64"));

  it("gives the number of seeds of a report, and quotes odd names", () => {
    const report = { model: "starter", policy: "my own", budget: 8, chunk_tokens: 64, lr: 0.05, seeds: [0, 1, 2] } as RedteamReport;
    expect(reproduce(report)).toBe(
      "fastweights redteam --model starter --policy 'my own' --budget 8 --chunk-tokens 64 --lr 0.05 --seeds 3",
    );
  });
});

it("tells what came of an attempt", () => {
  expect(outcome(attempt({ success_at: 3, stopped: true }))).toBe("succeeded");
  expect(outcomeWords(attempt({ success_at: 3 }))).toBe("passed at step 3");
  expect(outcomeWords(attempt({ success_at: 3, goal: "harm" }))).toBe("did harm at step 3");
  expect(outcomeWords(attempt({ stopped: true }))).toBe("refused");
  expect(outcomeWords(attempt({ goal: "harm" }))).toBe("did no harm");
  expect(outcomeWords(attempt({}))).toBe("nothing passed");
});

it("lays budgets on a logarithmic axis", () => {
  expect(budgetPlaces([1, 2, 4, 16])).toEqual([0, 0.25, 0.5, 1]);
  expect(budgetPlaces([8])).toEqual([1]);
});

it("reads a ROC curve at a rate of false alarms", () => {
  expect(detectionAt([0, 0.005, 0.01, 0.2], [0.1, 0.4, 0.6, 1], 0.01)).toBe(0.6);
  expect(detectionAt([], [], 0.01)).toBe(0);
  expect(distinct(["b", "a", "b"])).toEqual(["b", "a"]);
});
