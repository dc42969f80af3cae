import { useQuery } from "@tanstack/react-query";
import { openapi } from "../../api/queries";
import { NAMES } from "../../lib/monitor";
import { atPath, field, leaves, withPath } from "../../lib/schema";
import { SchemaField, type Values } from "../../ui/SchemaField";
import classes from "./RunForm.module.css";

const LABELS: Record<string, string> = {
  max_delta: "Largest rise (nats)",
  max_z: "Largest z",
  max_rise: "Rise let pass (nats)",
  min_history: "Writes before z counts",
  window: "Window of z",
  spread_floor: "Least spread (nats)",
  budget: "Budget (nats)",
  slack: "Slack (nats)",
  limit: "Largest sum (nats)",
};

const isMode = (path: string): boolean => path.endsWith(".mode");
const ruleOf = (path: string): string => path.split(".").at(-2) as string;
const nameOf = (rule: string): string => NAMES[rule] ?? rule.replaceAll("_", " ");

interface Props {
  /** The named policy that the fields change: `{ policy: ... }`. */
  base: unknown;
  values: Values;
  onChange: (values: Values) => void;
}

/** Every rule of the guard as the server's schema knows it: how much each may say, and its limits. */
export function PolicyFields({ base, values, onChange }: Props) {
  const { data } = useQuery(openapi);
  const paths = leaves(data, "MonitorRequest", "policy");
  const modes = paths.filter(isMode);
  const all = (mode: string) => {
    const clear = modes.reduce((next, path) => withPath(next, path, undefined), values);
    onChange(modes.reduce((next, path) => withPath(next, path, mode === standard(path) ? undefined : mode), clear));
  };
  const standard = (path: string) => atPath(base, path) ?? field(data, "MonitorRequest", path).default;
  const value = (path: string) => atPath(values, path) ?? standard(path);
  const uniform = (mode: string) => modes.length > 0 && modes.every((path) => value(path) === mode);
  const group = (title: string, chosen: string[]) =>
    chosen.length > 0 && (
      <fieldset>
        <legend>{title}</legend>
        {chosen.map((path) => (
          <SchemaField
            key={path}
            schema="MonitorRequest"
            path={path}
            label={isMode(path) ? nameOf(ruleOf(path)) : (LABELS[path.split(".").at(-1) as string] ?? nameOf(path.split(".").at(-1) as string))}
            values={values}
            onChange={onChange}
            base={base}
            disabled={!isMode(path) && value(path.replace(/[^.]+$/, "mode")) === "off"}
          />
        ))}
      </fieldset>
    );
  const gate = paths.filter((path) => path.startsWith("policy.gate."));
  const writes = paths.filter((path) => !path.startsWith("policy.gate."));
  return (
    <>
      <div className={`${classes.quick} ${classes.rules}`} role="group" aria-label="All rules at once">
        {(
          [
            ["enforce", "Enforce all"],
            ["observe", "Observe all"],
            ["off", "All off"],
          ] as const
        ).map(([mode, text]) => (
          <button key={mode} type="button" aria-pressed={uniform(mode)} onClick={() => all(mode)}>
            {text}
          </button>
        ))}
      </div>
      {group("Before a write: the text", gate)}
      {group("After it: the candidate", writes)}
    </>
  );
}
