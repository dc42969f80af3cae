import { Button, Select } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "../../api/client";
import { models, openapi, policies, readAnew, redteamRuns } from "../../api/queries";
import type { RedteamRequest, RedteamSummary } from "../../api/types";
import { resolved } from "../../lib/policies";
import { command } from "../../lib/redteam";
import { readsText } from "../../lib/runs";
import { field } from "../../lib/schema";
import { Line } from "../../ui/Line";
import form from "../../ui/Page.module.css";
import { PolicySelect } from "../../ui/PolicySelect";
import { Problem } from "../../ui/Problem";
import { SchemaField, type Values } from "../../ui/SchemaField";
import { FOCUS_TARGET } from "../../lib/keys";

const TOY = "toy";

/** What is attacked, and how hard; the command line that does the same is shown. */
export function AttackForm({ onStarted }: { onStarted: (run: RedteamSummary) => void }) {
  const modelList = useQuery(models);
  const policyList = useQuery(policies);
  const schema = useQuery(openapi);
  const [model, setModel] = useState(TOY);
  const [policy, setPolicy] = useState("default");
  const [values, setValues] = useState<Values>({});
  const usable = (modelList.data ?? []).filter(readsText).map((entry) => entry.model_id);

  const start = useMutation({
    mutationFn: () => {
      const body = { ...values, model, policy: resolved(policyList.data ?? [], policy, model)?.policy };
      return take(api.POST("/api/redteam", { body: body as RedteamRequest }));
    },
    onSuccess: async (run) => {
      await readAnew(redteamRuns.queryKey); // a list without the run would look for its report
      onStarted(run);
    },
  });

  const input = (path: string, label: string, placeholder?: string) => (
    <SchemaField {...{ path, label, values, placeholder }} schema="RedteamRequest" onChange={setValues} />
  );
  const budget = Number(values.budget ?? field(schema.data, "RedteamRequest", "budget").default ?? 64);
  return (
    <form
      className={form.form}
      aria-label="New attack"
      onSubmit={(event) => {
        event.preventDefault();
        start.mutate();
      }}
    >
      <h2>Attack a model</h2>
      <Problem
        error={modelList.error ?? policyList.error ?? schema.error}
        onRetry={() => void Promise.all([modelList.refetch(), policyList.refetch(), schema.refetch()])}
      />
      <Select
        {...FOCUS_TARGET}
        label="Model"
        data={[{ value: TOY, label: "toy, untrained" }, ...usable]}
        value={model}
        onChange={(next) => next && setModel(next)}
      />
      <PolicySelect value={policy} model={model} onChange={setPolicy} />
      <div className={form.pair}>
        {input("budget", "Budget")}
        {input("seeds", "Seeds", budget < 32 ? "1" : "3")}
        {input("chunk_tokens", "Tokens per chunk", model === TOY ? "32" : "64")}
        {input("lr", "Learning rate")}
      </div>
      <p className={form.hint}>
        A budget counts guard steps of each attempt, searching included. 64 on the toy take minutes, a trained model several times as
        long; the run goes on if this page or the server is closed.
      </p>
      <div className={form.hint}>
        The same on the command line
        <Line text={command({ ...values, model, policy, budget })} />
      </div>
      <Problem error={start.error} />
      <Button type="submit" loading={start.isPending} disabled={!policyList.data}>
        Start the attack
      </Button>
    </form>
  );
}
