import { describe, expect, it } from "vitest";
import { ApiProblem, fromError, toProblem } from "./problem";

describe("toProblem", () => {
  it("reads a problem document", () => {
    const problem = toProblem(409, { type: "about:blank", title: "Conflict", status: 409, detail: "session s1 is busy; wait" });
    expect(problem).toMatchObject({ status: 409, title: "Conflict", detail: "session s1 is busy; wait" });
  });

  it("reads a list of field errors", () => {
    const problem = toProblem(422, { detail: [{ loc: ["body", "seed"], msg: "too large", type: "x" }] });
    expect(problem.fields).toEqual([{ field: "seed", message: "too large" }]);
    expect(problem.detail).toBe("seed: too large");
  });

  it("shows text, and says so where there is nothing", () => {
    expect(toProblem(500, "Internal Server Error").detail).toBe("Internal Server Error");
    expect(toProblem(418, undefined).detail).toContain("418");
    expect(toProblem(502, "").detail).toContain("fastweights up");
    expect(toProblem(400, null)).toBeInstanceOf(ApiProblem);
  });
});

it("turns any error into a problem", () => {
  const problem = new ApiProblem(404, "Not found", "no model x");
  expect(fromError(problem)).toBe(problem);
  expect(fromError(new TypeError("Failed to fetch")).detail).toContain("does not answer");
  expect(fromError(new Error("boom")).detail).toBe("boom");
  expect(fromError("text").detail).toBe("text");
});
