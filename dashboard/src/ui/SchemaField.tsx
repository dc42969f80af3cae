import { NumberInput, Select, TextInput, Tooltip } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { openapi } from "../api/queries";
import { atPath, field, withPath } from "../lib/schema";
import classes from "./SchemaField.module.css";

export type Values = Record<string, unknown>;

interface Props {
  schema: string;
  path: string;
  label: string;
  values: Values;
  onChange: (values: Values) => void;
  disabled?: boolean;
  /** What an empty field means, where it is not the schema's default. */
  placeholder?: string;
  /** What holds where nothing was chosen, in place of the schema's defaults. */
  base?: unknown;
}

/** A number or a choice of a request record: default, bounds and help come from the server's schema. Left alone, it is not sent. */
export function SchemaField({ schema, path, label, values, onChange, disabled, placeholder, base }: Props) {
  const { data } = useQuery(openapi);
  const known = field(data, schema, path);
  const info = { ...known, default: atPath(base, path) ?? known.default };
  const value = atPath(values, path);
  const named = <Label text={label} help={info.help} />;
  if (!data) return <TextInput label={label} disabled />;
  if (info.choices) {
    return (
      <Select
        label={named}
        data={info.choices.map((choice) => ({ value: choice, label: choice.replaceAll("_", " ") }))}
        value={String(value ?? info.default ?? "")}
        onChange={(next) => onChange(withPath(values, path, next === info.default ? undefined : next))}
        disabled={disabled}
        comboboxProps={{ withinPortal: true }}
      />
    );
  }
  return (
    <NumberInput
      label={named}
      value={typeof value === "number" ? value : ""}
      placeholder={placeholder ?? shown(info.default)}
      min={info.min}
      max={info.max}
      allowDecimal={!info.integer}
      clampBehavior="none"
      error={problem(value, info.min, info.max, info.exclusiveMin)}
      onChange={(next) => onChange(withPath(values, path, typeof next === "number" ? next : undefined))}
      disabled={disabled}
    />
  );
}

/** A default as the placeholder shows it: four digits are enough. */
function shown(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === "number" && !Number.isInteger(value) ? String(+value.toPrecision(4)) : String(value);
}

function problem(value: unknown, min?: number, max?: number, exclusive?: boolean): string | undefined {
  if (typeof value !== "number") return undefined;
  if (min !== undefined && (exclusive ? value <= min : value < min)) return exclusive ? `more than ${min}` : `at least ${min}`;
  if (max !== undefined && value > max) return `at most ${max}`;
  return undefined;
}

/** A field's name; its help shows on hover and is read out after the name. */
export function Label({ text, help }: { text: string; help?: ReactNode }) {
  if (!help) return <>{text}</>;
  return (
    <Tooltip label={help}>
      <span className={classes.helped}>{text}</span>
    </Tooltip>
  );
}
