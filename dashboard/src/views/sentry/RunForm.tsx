import { Button, Select, Switch } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { models, openapi } from "../../api/queries";
import { relaxed } from "../../lib/monitor";
import { atPath, field, leaves, withPath } from "../../lib/schema";
import { Chevron } from "../../ui/icons";
import { Problem } from "../../ui/Problem";
import { Label, SchemaField, type Values } from "../../ui/SchemaField";
import { EXAMPLE_CHUNK } from "./examples";
import { InputBox } from "./InputBox";
import { type Body, start, stop, useLive } from "./live";
import { PolicyFields } from "./PolicyFields";
import classes from "./RunForm.module.css";

const TOY = "toy";

/** What to read, with which model and under which policy. What is left alone is the server's default. */
export function RunForm({ onStart }: { onStart: () => void }) {
  const modelList = useQuery(models);
  const schema = useQuery(openapi);
  const live = useLive();
  const [text, setText] = useState("");
  const [values, setValues] = useState<Values>({});
  const [second, setSecond] = useState<Values | null>(null);

  const usable = (modelList.data ?? []).filter((entry) => entry.status === "ready").map((entry) => entry.model_id);
  const model = String(values.model ?? field(schema.data, "MonitorRequest", "model").default ?? TOY);
  const toy = model === TOY;
  const value = (path: string) => atPath(values, path) ?? field(schema.data, "MonitorRequest", path).default;
  const set = (path: string, to: unknown) => setValues((known) => withPath(known, path, to));
  const input = (path: string, label: string, disabled = false) => (
    <SchemaField schema="MonitorRequest" path={path} label={label} values={values} onChange={setValues} disabled={disabled} />
  );
  const help = (path: string) => field(schema.data, "MonitorRequest", path).help;
  const busy = live.phase !== "rest";

  const observed = () =>
    leaves(schema.data, "MonitorRequest", "policy")
      .filter((path) => path.endsWith(".mode"))
      .reduce<Values>((next, path) => withPath(next, path, "observe"), {});

  const submit = (event: { preventDefault: () => void }) => {
    event.preventDefault();
    if (busy || !text.trim()) return;
    const { backbone, objective, ...rest } = values;
    const body = { ...(toy ? values : rest), text } as Body;
    const plan = [{ name: second ? "A" : "", body }];
    if (second) plan.push({ name: "B", body: { ...body, policy: second.policy as Body["policy"] } });
    onStart();
    void start(plan);
  };

  return (
    <form className={classes.form} onSubmit={submit} aria-label="New monitor run">
      <h2>Monitor a text</h2>
      <InputBox
        text={text}
        model={model}
        onChange={setText}
        onExample={(example) => {
          setText(example.text());
          set("chunk_tokens", EXAMPLE_CHUNK);
        }}
      />
      <Problem error={modelList.error ?? schema.error} onRetry={() => void Promise.all([modelList.refetch(), schema.refetch()])} />
      <div className={classes.pair}>
        <Select
          label="Model"
          data={[{ value: TOY, label: "toy, untrained" }, ...usable]}
          value={model}
          onChange={(next) => set("model", next === TOY ? undefined : (next ?? undefined))}
        />
        {input("chunk_tokens", "Tokens per chunk")}
        {toy && input("backbone", "Backbone")}
        {toy && input("objective", "Objective")}
      </div>
      <div className={classes.switches}>
        <Switch
          label={<Label text="Projection (SPFW)" help="Takes out of each write what would raise a canary's loss to first order." />}
          checked={value("policy.spfw.mode") === "enforce"}
          onChange={(event) => set("policy.spfw.mode", event.currentTarget.checked ? undefined : "off")}
        />
        <Switch
          label={<Label text="Measure only, write nothing" help={help("updates")} />}
          checked={value("updates") === false}
          onChange={(event) => set("updates", event.currentTarget.checked ? false : undefined)}
        />
        <Switch
          label={<Label text="Influence of tokens" help={help("influence")} />}
          checked={value("influence") === true}
          onChange={(event) => set("influence", event.currentTarget.checked ? true : undefined)}
        />
        <Switch
          label={<Label text="Compare with a second policy" help="Reads the same text again under other rules; both runs are kept." />}
          checked={second !== null}
          onChange={(event) => setSecond(event.currentTarget.checked ? observed() : null)}
        />
      </div>
      <Fold title="Advanced" about={describe(values)}>
        <fieldset>
          <legend>How it learns</legend>
          {input("rule", "Rule")}
          {input("lr", "Learning rate")}
          {input("clip", "Longest gradient", value("rule") !== "sgd")}
          {input("inner_steps", "Inner steps")}
          {input("seed", "Seed")}
        </fieldset>
        <fieldset>
          <legend>What is flagged, and no more</legend>
          {input("flags.abs_grad_norm", "Gradient norm")}
          {input("flags.abs_update_norm", "Attempted update")}
          {input("flags.robust_z", "Robust z")}
        </fieldset>
        <PolicyFields values={values} onChange={setValues} />
      </Fold>
      {second && (
        <Fold title="Second policy" about={describe(second)} open>
          <PolicyFields values={second} onChange={setSecond} />
        </Fold>
      )}
      <Problem error={live.error} />
      {busy ? (
        <Button type="button" variant="default" onClick={stop} disabled={live.phase === "stopping"}>
          {live.phase === "stopping" ? "Stopping" : "Stop"}
        </Button>
      ) : (
        <Button type="submit" disabled={!text.trim()}>
          {second ? "Run under both policies" : "Run"}
        </Button>
      )}
    </form>
  );
}

function Fold({ title, about, open, children }: { title: string; about: string; open?: boolean; children: ReactNode }) {
  return (
    <details className={classes.fold} open={open}>
      <summary>
        <Chevron size={14} />
        <span>{title}</span>
        <small>{about}</small>
      </summary>
      {children}
    </details>
  );
}

function describe(values: Values): string {
  const loose = relaxed({ policy: values.policy ?? {} } as Parameters<typeof relaxed>[0]);
  const changed = Object.keys(values).some((name) => name === "policy" || name === "flags" || name === "lr" || name === "rule");
  if (loose.length > 3) return `${loose.length} rules not enforced`;
  return loose.join(", ") || (changed ? "all rules enforced, some limits changed" : "all rules enforced");
}
