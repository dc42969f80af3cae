import { describe, expect, it } from "vitest";
import { atPath, field, leaves, withPath } from "./schema";

const openapi = {
  components: {
    schemas: {
      Options: {
        properties: {
          lr: { type: "number", default: 0.1, exclusiveMinimum: 0, maximum: 100, description: "rate" },
          steps: { anyOf: [{ type: "integer", minimum: 1, maximum: 9 }, { type: "null" }] },
          policy: { $ref: "#/components/schemas/Policy", default: { audit: { mode: "observe" } } },
        },
      },
      Policy: {
        properties: {
          name: { type: "string" },
          audit: { $ref: "#/components/schemas/Audit" },
          gate: { anyOf: [{ $ref: "#/components/schemas/Gate" }, { type: "null" }] },
        },
      },
      Gate: { properties: { blob: { $ref: "#/components/schemas/Blob", default: { mode: "enforce" } } } },
      Blob: {
        properties: {
          mode: { type: "string", enum: ["off", "enforce"], default: "enforce" },
          table: { anyOf: [{ $ref: "#/components/schemas/Table" }, { type: "null" }] },
        },
      },
      Table: { properties: { side: { type: "string", enum: ["low", "high"] } }, required: ["side"] },
      Audit: { properties: { mode: { type: "string", enum: ["off", "observe"] }, floor: { type: "number", default: 2 } } },
      "Split-Input": { properties: { x: { type: "integer", default: 3 } } },
    },
  },
};

describe("field", () => {
  it("reads default, bounds and help", () => {
    expect(field(openapi, "Options", "lr")).toMatchObject({ default: 0.1, min: 0, exclusiveMin: true, max: 100, help: "rate", integer: false });
    expect(field(openapi, "Options", "steps")).toMatchObject({ default: undefined, min: 1, max: 9, integer: true, exclusiveMin: false });
  });

  it("follows references, with the default of the outermost that has one", () => {
    expect(field(openapi, "Options", "policy.audit.mode")).toMatchObject({ default: "observe", choices: ["off", "observe"] });
    expect(field(openapi, "Options", "policy.audit.floor").default).toBe(2);
  });

  it("finds the input side of a schema that differs in requests and answers", () => {
    expect(field(openapi, "Split", "x").default).toBe(3);
  });

  it("gives an empty field for what is not there", () => {
    expect(field(undefined, "Options", "lr").default).toBeUndefined();
    expect(field(openapi, "Options", "no.such").choices).toBeUndefined();
  });
});

it("looks into a record that may be null", () => {
  expect(field(openapi, "Options", "policy.gate.blob.mode")).toMatchObject({ default: "enforce", choices: ["off", "enforce"] });
});

it("lists the numbers and choices below a path, without records that need to be whole", () => {
  expect(leaves(openapi, "Options", "policy")).toEqual(["policy.audit.mode", "policy.audit.floor", "policy.gate.blob.mode"]);
  expect(leaves(undefined, "Options", "policy")).toEqual([]);
});

describe("paths", () => {
  it("sets, reads and removes without changing the input", () => {
    const empty = Object.freeze({});
    const one = withPath(empty, "policy.audit.mode", "off");
    expect(one).toEqual({ policy: { audit: { mode: "off" } } });
    expect(atPath(one, "policy.audit.mode")).toBe("off");
    expect(withPath(one, "policy.audit.mode", undefined)).toEqual({});
    expect(atPath(one, "policy.none.mode")).toBeUndefined();
  });
});
