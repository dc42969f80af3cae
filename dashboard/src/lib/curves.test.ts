import { expect, it } from "vitest";
import type { ChunkEvent, CommitInfo } from "../api/types";
import { errorOfRuns, lossOfTurns } from "./curves";

const commits = ["start", "one", "two"].map((commit) => ({ commit }) as CommitInfo);
const event = (loss: number) => ({ loss, loss_after: loss, token_start: 0, token_end: 4, decision: "committed", update_norm: 0 }) as ChunkEvent;

it("places turns at their commits and leaves out those of other branches", () => {
  const turns = [
    { commit: "two", events: [event(3), event(5)] },
    { commit: "elsewhere", events: [event(1)] },
  ];
  expect(lossOfTurns(commits, turns)).toEqual({ x: [2], y: [4] });
  expect(lossOfTurns(commits, [{ commit: "one", events: [] }])).toEqual({ x: [1], y: [null] });
});

it("takes a run's error as it is", () => {
  expect(errorOfRuns(commits, [{ commit: "one", adaptive_mse: 0.5 }])).toEqual({ x: [1], y: [0.5] });
});
