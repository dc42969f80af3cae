import { ActionIcon, Button, Select } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import { api, take } from "../../api/client";
import { models, openapi, policies, queryClient, session, sessions } from "../../api/queries";
import type { ModelInfo, NewSessionBody } from "../../api/types";
import { ago, count, fixed } from "../../lib/format";
import { byRule, forMemory, MEMORY_WORDS, OWN_RULE_WORDS, withoutRule } from "../../lib/learning";
import { NAMES } from "../../lib/monitor";
import { merged, resolved } from "../../lib/policies";
import { readsText } from "../../lib/runs";
import { atPath, field, leaves } from "../../lib/schema";
import { Empty } from "../../ui/Empty";
import { Fold } from "../../ui/Fold";
import { Menu } from "../../ui/icons";
import { PolicySelect } from "../../ui/PolicySelect";
import { Problem } from "../../ui/Problem";
import { SchemaField, type Values } from "../../ui/SchemaField";
import { FOCUS_TARGET } from "../../lib/keys";
import classes from "./NewSession.module.css";

/** Which model, and how it learns. Every default is the server's own. */
export function NewSession({ model, onOpenList }: { model: string | null; onOpenList?: () => void }) {
  const modelList = useQuery(models);
  const schema = useQuery(openapi);
  const [, navigate] = useLocation();
  const [chosen, setChosen] = useState<string | null>(model);
  const [options, setOptions] = useState<Values>({});
  const policyList = useQuery(policies);
  const [policyName, setPolicyName] = useState("default");

  const usable = (modelList.data ?? [])
    .filter(readsText)
    .sort((a, b) => Number(a.shipped) - Number(b.shipped) || b.created_at.localeCompare(a.created_at));
  const info = usable.find((entry) => entry.model_id === chosen) ?? usable[0];

  const base = { policy: resolved(policyList.data ?? [], policyName, info?.model_id ?? "")?.policy };

  const own = info?.own_rule ?? false;
  const ruled = byRule(schema.data);
  const create = useMutation({
    mutationFn: () => {
      const body = { ...(own ? withoutRule(options) : forMemory(options, memory, ruled)), policy: merged(base.policy, options.policy), model: info?.model_id ?? null };
      return take(api.POST("/api/text/sessions", { body: body as unknown as NewSessionBody }));
    },
    onSuccess: (made) => {
      queryClient.setQueryData(session(made.session_id).queryKey, { ...made, turns: [], reverted: [] });
      void queryClient.invalidateQueries({ queryKey: sessions.queryKey });
      navigate(`/chat/${made.session_id}`);
    },
  });

  const value = (path: string) => atPath(options, path) ?? atPath(base, path) ?? field(schema.data, "SessionOptions", path).default;
  const gate = leaves(schema.data, "SessionOptions", "policy.gate");
  const memory = String(value("memory"));
  const open = ruled.includes(memory); // the rule's options
  const input = (path: string, label: string, disabled = false, placeholder?: string) => (
    <SchemaField key={path} {...{ path, label, disabled, base, placeholder }} schema="SessionOptions" values={options} onChange={setOptions} />
  );

  return (
    <div className={classes.page}>
      <form
        className={classes.form}
        aria-label="New session"
        onSubmit={(event) => {
          event.preventDefault();
          create.mutate();
        }}
      >
        <div className={classes.head}>
          {onOpenList && (
            <ActionIcon aria-label="Show the sessions" onClick={onOpenList}>
              <Menu />
            </ActionIcon>
          )}
          <h1>New session</h1>
        </div>
        <p className={classes.lead}>
          A session reads what you send in chunks, learns from each chunk through the guard, and then continues the text. What
          it learned stays in its fast weights, turn after turn; the model itself does not change.
        </p>
        <Problem error={modelList.error} onRetry={() => void modelList.refetch()} />
        <Problem error={schema.error ?? policyList.error} onRetry={() => void Promise.all([schema.refetch(), policyList.refetch()])} />
        {modelList.data && usable.length === 0 ? (
          <Empty title="No model is ready" action={<Button component={Link} href="/train">Train one</Button>}>
            A run that has finished on the Train page shows up here.
          </Empty>
        ) : (
          <>
            <Select
              {...FOCUS_TARGET}
              label="Model"
              data={usable.map((entry) => entry.model_id)}
              value={info?.model_id ?? null}
              onChange={setChosen}
              description={info && <About model={info} />}
              inputWrapperOrder={["label", "input", "description", "error"]}
            />
            <PolicySelect
              value={policyName}
              model={info?.model_id ?? ""}
              onChange={(name) => {
                setPolicyName(name);
                setOptions(({ policy: _, ...rest }) => rest);
              }}
            />
            {own ? (
              <p className={classes.own} data-own-rule>
                {OWN_RULE_WORDS[info?.kind ?? ""]}
              </p>
            ) : (
              <div>
                {input("memory", "Memory")}
                {MEMORY_WORDS[memory] && <p className={classes.about}>{MEMORY_WORDS[memory]}</p>}
              </div>
            )}
            <Fold title="Advanced" about={schema.data ? describe(value, own, open) : "how it learns, and what the guard enforces"}>
              <fieldset>
                <legend>How it learns</legend>
                {!own && (
                  <>
                    {input("rank", "Rank", memory !== "low_rank")}
                    {input("rule", "Rule", !open)}
                    {input("lr", "Learning rate", !open)}
                    {input("momentum", "Momentum", !open)}
                    {input("inner_steps", "Inner steps", !open)}
                  </>
                )}
                {input("chunk_tokens", "Tokens per chunk", false, info?.kind === "e2e" ? "as it was trained" : undefined)}
              </fieldset>
              {gate.length > 0 && (
                <fieldset>
                  <legend>What the gate stops before a write</legend>
                  {gate.map((path) => input(path, NAMES[path.split(".").at(-2) as string] ?? path))}
                </fieldset>
              )}
              <fieldset>
                <legend>What the guard enforces</legend>
                {input("policy.audit.mode", "Canary audit")}
                {input("policy.audit.max_delta", "Largest rise (nats)", value("policy.audit.mode") === "off")}
                {input("policy.audit.max_z", "Largest z", value("policy.audit.mode") === "off")}
                {input("policy.drift.mode", "Drift budget")}
                {input("policy.drift.budget", "Budget (nats)", value("policy.drift.mode") === "off")}
                {input("policy.spfw.mode", "Projection (SPFW)")}
                {input("policy.cusum.mode", "Slow rise (CUSUM)")}
                {input("policy.cusum.limit", "Largest sum (nats)", value("policy.cusum.mode") === "off")}
              </fieldset>
            </Fold>
            <Problem error={create.error} />
            <div>
              <Button type="submit" loading={create.isPending} disabled={!info || !policyList.data}>
                Start session
              </Button>
            </div>
          </>
        )}
      </form>
    </div>
  );
}

/** The choices as they stand, in one line. */
function describe(value: (path: string) => unknown, own: boolean, ruled: boolean): string {
  const guard = [
    `audit ${String(value("policy.audit.mode"))}`,
    `drift ${String(value("policy.drift.mode"))}`,
    `CUSUM ${String(value("policy.cusum.mode"))}`,
    `SPFW ${String(value("policy.spfw.mode"))}`,
  ];
  const rule = !own && ruled ? [String(value("rule")), `lr ${String(value("lr"))}`] : [];
  const learning = own ? ["its own rule"] : [...rule, `${String(value("chunk_tokens"))}-token chunks`];
  return [...learning, ...guard].join(" · ");
}

function About({ model }: { model: ModelInfo }) {
  const corpus = typeof model.corpus.name === "string" ? ` on ${model.corpus.name}` : "";
  const made = model.shipped ? "ships with the package" : `trained ${ago(model.created_at, Date.now())}`;
  return (
    <>
      {count(model.params)} parameters{corpus}, {fixed(model.val_bpb)} held-out bits per byte, {made}
    </>
  );
}
