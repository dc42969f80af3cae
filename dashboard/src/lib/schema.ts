/** Defaults, bounds and help of form fields, read from the server's own OpenAPI document. Pure. */

export interface Field {
  default?: unknown;
  min?: number;
  max?: number;
  /** The bound itself is not allowed. */
  exclusiveMin?: boolean;
  choices?: string[];
  help?: string;
  integer?: boolean;
  /** The choices that go by the options of a rule. */
  byRule?: string[];
}

type Json = Record<string, unknown>;

const record = (value: unknown): Json => (typeof value === "object" && value !== null ? (value as Json) : {});
const number = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);

/** `field(openapi, "SessionOptions", "policy.audit.max_delta")`; an unknown name gives an empty field. */
export function field(openapi: unknown, schema: string, path: string): Field {
  const schemas = record(record(record(openapi).components).schemas);
  let node = record(schemas[schema] ?? schemas[`${schema}-Input`]);
  let inherited: unknown = undefined;
  for (const name of path.split(".")) {
    node = follow(schemas, record(record(node.properties)[name]));
    inherited = record(inherited)[name] ?? node.default; // what the whole says of its part goes before the part's own
  }
  const bounds = [node, ...(Array.isArray(node.anyOf) ? node.anyOf.map(record) : [])];
  const pick = (key: string): number | undefined => bounds.map((entry) => number(entry[key])).find((v) => v !== undefined);
  const exclusive = pick("exclusiveMinimum");
  const strings = (value: unknown): string[] | undefined => (Array.isArray(value) ? value.filter((entry) => typeof entry === "string") : undefined);
  return {
    default: inherited,
    min: pick("minimum") ?? exclusive,
    exclusiveMin: exclusive !== undefined,
    max: pick("maximum"),
    choices: strings(node.enum),
    byRule: strings(node["x-by-rule"]),
    help: typeof node.description === "string" ? node.description : undefined,
    integer: bounds.some((entry) => entry.type === "integer"),
  };
}

/** `$ref`, also with siblings, inside `allOf`, or as "this or null"; siblings win over what they refer to. */
function follow(schemas: Json, node: Json): Json {
  const options = [node.allOf, node.anyOf].flatMap((list) => (Array.isArray(list) ? list.map(record) : [])).filter((entry) => entry.type !== "null");
  const inner = options.length === 1 && "$ref" in (options[0] as Json) ? (options[0] as Json) : node;
  const ref = typeof inner.$ref === "string" ? inner.$ref.split("/").at(-1) : undefined;
  return ref ? { ...record(schemas[ref]), ...node } : node;
}

/** Dotted paths of the numbers and choices below a path. Records that cannot be given in part (with required fields) are left out. */
export function leaves(openapi: unknown, schema: string, path: string): string[] {
  const schemas = record(record(record(openapi).components).schemas);
  let node = record(schemas[schema] ?? schemas[`${schema}-Input`]);
  for (const name of path.split(".")) node = follow(schemas, record(record(node.properties)[name]));
  const found: string[] = [];
  const walk = (at: Json, prefix: string): void => {
    for (const [name, raw] of Object.entries(record(at.properties))) {
      const child = follow(schemas, record(raw));
      const here = `${prefix}.${name}`;
      if (child.properties) {
        if (!Array.isArray(child.required) || child.required.length === 0) walk(child, here);
      } else if (Array.isArray(child.enum) || child.type === "number" || child.type === "integer") found.push(here);
    }
  };
  walk(node, path);
  return found;
}

/** A copy of `target` with `value` at a dotted path; `undefined` removes it, and empty parents go with it. */
export function withPath(target: Json, path: string, value: unknown): Json {
  const [head, ...rest] = path.split(".") as [string, ...string[]];
  const next = rest.length ? withPath(record(target[head]), rest.join("."), value) : value;
  const copy = { ...target };
  const empty = next === undefined || (rest.length > 0 && Object.keys(record(next)).length === 0);
  if (empty) delete copy[head];
  else copy[head] = next;
  return copy;
}

export function atPath(target: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((node, name) => record(node)[name], target);
}
