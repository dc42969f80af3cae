import { Button, Select, Switch, Textarea } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { models, openapi, policies } from "../../api/queries";
import { withoutRule } from "../../lib/learning";
import { relaxed } from "../../lib/monitor";
import { merged, resolved } from "../../lib/policies";
import { readsText } from "../../lib/runs";
import { atPath, field, withPath } from "../../lib/schema";
import { Fold } from "../../ui/Fold";
import form from "../../ui/Page.module.css";
import { PolicySelect } from "../../ui/PolicySelect";
import { Problem } from "../../ui/Problem";
import { Label, SchemaField, type Values } from "../../ui/SchemaField";
import { EXAMPLE_CHUNK } from "./examples";
import { InputBox } from "./InputBox";
import { type Body, start, stop, useLive } from "./live";
import { PolicyFields } from "./PolicyFields";
import classes from "./RunForm.module.css";

const TOY = "toy";
const MOST_CANARIES = 8;

/** A shipped policy, and what is changed on top of it. */
interface Chosen {
  name: string;
  changes: Values;
}

/** What to read, with which model and under which policy. What is left alone is the server's default. */
export function RunForm({ onStart }: { onStart: () => void }) {
  const modelList = useQuery(models);
  const schema = useQuery(openapi);
  const live = useLive();
  const [text, setText] = useState("");
  const [values, setValues] = useState<Values>({});
  const [first, setFirst] = useState<Chosen>({ name: "default", changes: {} });
  const [second, setSecond] = useState<Chosen | null>(null);
  const [canaries, setCanaries] = useState("");
  const policyList = useQuery(policies);

  const usable = (modelList.data ?? []).filter(readsText);
  const model = String(values.model ?? field(schema.data, "MonitorRequest", "model").default ?? TOY);
  const toy = model === TOY;
  const byItself = usable.find((entry) => entry.model_id === model)?.own_rule ?? false;
  const named = (chosen: Chosen) => ({ policy: resolved(policyList.data ?? [], chosen.name, model)?.policy });
  const whole = (chosen: Chosen) => merged(named(chosen).policy, chosen.changes.policy) as Body["policy"];
  const own = canaries.split("\n").map((line) => line.trim()).filter(Boolean);
  const value = (path: string) => atPath(values, path) ?? field(schema.data, "MonitorRequest", path).default;
  const set = (path: string, to: unknown) => setValues((known) => withPath(known, path, to));
  const input = (path: string, label: string, disabled = false, placeholder?: string) => (
    <SchemaField {...{ path, label, values, disabled, placeholder }} schema="MonitorRequest" onChange={setValues} />
  );
  const help = (path: string) => field(schema.data, "MonitorRequest", path).help;
  const busy = live.phase !== "rest";

  const submit = (event: { preventDefault: () => void }) => {
    event.preventDefault();
    if (busy || !policyList.data || !text.trim() || own.length > MOST_CANARIES) return;
    const { backbone, objective, ...rest } = values;
    const options = toy ? values : byItself ? withoutRule(rest) : rest;
    const body = { ...options, text, policy: whole(first) } as Body;
    if (own.length) body.canary_text = own;
    const plan = [{ name: second ? "A" : "", body }];
    if (second) plan.push({ name: "B", body: { ...body, policy: whole(second) } });
    onStart();
    void start(plan);
  };

  return (
    <form className={form.form} onSubmit={submit} aria-label="New monitor run">
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
      <Problem error={modelList.error ?? schema.error ?? policyList.error} onRetry={() => void Promise.all([modelList.refetch(), schema.refetch(), policyList.refetch()])} />
      <div className={form.pair}>
        <Select
          label="Model"
          data={[{ value: TOY, label: "toy, untrained" }, ...usable.map((entry) => entry.model_id)]}
          value={model}
          onChange={(next) => set("model", next === TOY ? undefined : (next ?? undefined))}
        />
        {input("chunk_tokens", "Tokens per chunk")}
        {toy && input("backbone", "Backbone")}
        {toy && input("objective", "Objective")}
      </div>
      <PolicySelect value={first.name} model={model} onChange={(name) => setFirst({ name, changes: {} })} />
      <div className={classes.switches}>
        <Switch
          label={<Label text="Projection (SPFW)" help="Takes out of each write what would raise a canary's loss to first order." />}
          checked={whole(first)?.spfw?.mode === "enforce"}
          onChange={(event) => {
            const mode = event.currentTarget.checked ? "enforce" : "off";
            const changes = withPath(first.changes, "policy.spfw.mode", mode === atPath(named(first), "policy.spfw.mode") ? undefined : mode);
            setFirst({ ...first, changes });
          }}
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
          onChange={(event) => setSecond(event.currentTarget.checked ? { name: "observe", changes: {} } : null)}
        />
      </div>
      <Fold title="Advanced" about={describe(whole(first), values)}>
        <fieldset>
          <legend>How it learns</legend>
          {input("rule", "Rule", byItself)}
          {input("lr", "Learning rate", byItself, byItself ? "the model's own" : undefined)}
          {input("clip", "Longest gradient", byItself || value("rule") !== "sgd")}
          {input("inner_steps", "Inner steps", byItself)}
          {input("seed", "Seed")}
        </fieldset>
        <fieldset>
          <legend>What is flagged, and no more</legend>
          {input("flags.abs_grad_norm", "Gradient norm", false, gradientLimit(whole(first)))}
          {input("flags.abs_update_norm", "Attempted update", false, "no limit")}
          {input("flags.robust_z", "Robust z")}
        </fieldset>
        <fieldset>
          <legend>What must not be forgotten</legend>
          <Textarea
            className={classes.canaries}
            label={<Label text="Own canary texts" help={help("canary_text")} />}
            placeholder="One a line; empty: the shipped ones"
            autosize
            minRows={2}
            maxRows={8}
            value={canaries}
            error={own.length > MOST_CANARIES ? `at most ${MOST_CANARIES}` : undefined}
            onChange={(event) => setCanaries(event.currentTarget.value)}
          />
        </fieldset>
        <PolicyFields base={named(first)} values={first.changes} onChange={(changes) => setFirst({ ...first, changes })} />
      </Fold>
      {second && (
        <Fold title="Second policy" about={describe(whole(second), {})} open>
          <fieldset>
            <PolicySelect label="Second policy" value={second.name} model={model} onChange={(name) => setSecond({ name, changes: {} })} />
          </fieldset>
          <PolicyFields base={named(second)} values={second.changes} onChange={(changes) => setSecond({ ...second, changes })} />
        </Fold>
      )}
      <Problem error={live.error} />
      {busy ? (
        <Button type="button" variant="default" onClick={stop} disabled={live.phase === "stopping"}>
          {live.phase === "stopping" ? "Stopping" : "Stop"}
        </Button>
      ) : (
        <Button type="submit" disabled={!text.trim() || !policyList.data}>
          {second ? "Run under both policies" : "Run"}
        </Button>
      )}
    </form>
  );
}

/** What is flagged where no limit is given. */
function gradientLimit(policy: Body["policy"]): string {
  return policy?.gate?.ood?.grad_norm ? "4 × typical" : "no limit";
}

function describe(policy: Body["policy"], values: Values): string {
  const loose = relaxed({ policy: policy ?? {} } as Parameters<typeof relaxed>[0]);
  const changed = Object.keys(values).some((name) => name === "flags" || name === "lr" || name === "rule");
  if (loose.length > 3) return `${loose.length} rules not enforced`;
  return loose.join(", ") || (changed ? "all rules enforced, some values changed" : "all rules enforced");
}
