import { Button, MultiSelect, Select, TextInput } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "../../api/client";
import { models, openapi, readAnew, sessions, sleeps } from "../../api/queries";
import type { SleepCandidate, SleepRequest } from "../../api/types";
import { plural } from "../../lib/format";
import { readsText } from "../../lib/runs";
import { atPath, field, withPath } from "../../lib/schema";
import { command } from "../../lib/sleep";
import { Fold } from "../../ui/Fold";
import { Line } from "../../ui/Line";
import form from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { SchemaField, type Values } from "../../ui/SchemaField";
import { FOCUS_TARGET } from "../../lib/keys";

const ID = /^[a-z0-9][a-z0-9_-]{0,63}$/;
const TEXT = "text";
/** What only a sleep of text sessions takes. */
const ONLY_TEXT = ["mode", "base_model_id", "max_memories", "core_path", "core_ratio", "seq_len", "train_steps", "lr"];

/** What shall be consolidated and how; every default is the server's own. */
export function SleepForm({ onStarted }: { onStarted: (row: SleepCandidate) => void }) {
  const schema = useQuery(openapi);
  const modelList = useQuery(models);
  const sessionList = useQuery(sessions);
  const [of, setOf] = useState<string>(TEXT);
  const [values, setValues] = useState<Values>({});
  const nano = of !== TEXT;
  const kept = nano ? Object.fromEntries(Object.entries(values).filter(([name]) => !ONLY_TEXT.includes(name) && name !== "sessions")) : values;
  const request = { ...kept, ...(nano && { nano: of }) } as Partial<SleepRequest>;
  const usable = (modelList.data ?? []).filter(readsText).map((entry) => entry.model_id);
  const base = typeof values.base_model_id === "string" ? values.base_model_id : null;
  const open = (sessionList.data ?? []).filter((entry) => entry.n_turns > 0 && (base === null || entry.model === base));

  const start = useMutation({
    mutationFn: () => take(api.POST("/api/sleep", { body: request as SleepRequest })),
    onSuccess: async (row) => {
      await readAnew(sleeps.queryKey);
      setValues((now) => withPath(now, "model_id", undefined));
      onStarted(row);
    },
  });
  const put = (path: string, value: unknown) => setValues((now) => withPath(now, path, value));
  const input = (path: string, label: string, placeholder?: string) => <SchemaField {...{ path, label, values, placeholder }} schema="SleepRequest" onChange={setValues} />;
  const name = String(values.model_id ?? "");
  const mode = String(atPath(values, "mode") ?? field(schema.data, "SleepRequest", "mode").default ?? "");
  return (
    <form
      className={form.form}
      aria-label="New sleep"
      onSubmit={(event) => {
        event.preventDefault();
        start.mutate();
      }}
    >
      <h2>Sleep</h2>
      <Problem error={modelList.error ?? schema.error ?? sessionList.error} onRetry={() => void Promise.all([modelList.refetch(), schema.refetch(), sessionList.refetch()])} />
      <Select
        {...FOCUS_TARGET}
        label="Sessions of"
        data={[
          { value: TEXT, label: "text" },
          { value: "linear", label: "Nano, linear worlds" },
          { value: "nonlinear", label: "Nano, nonlinear worlds" },
        ]}
        value={of}
        onChange={(next) => next && setOf(next)}
      />
      {!nano && (
        <>
          {input("mode", "What goes over")}
          <Select label="Base model" placeholder="the latest usable one" data={usable} value={base} clearable onChange={(next) => setValues((now) => withPath(withPath(now, "base_model_id", next ?? undefined), "sessions", undefined))} />
          <MultiSelect
            label="Sessions"
            size="sm"
            placeholder={values.sessions ? undefined : `all: ${plural(open.length, "session")} with turns`}
            data={open.map((entry) => entry.session_id)}
            value={Array.isArray(values.sessions) ? (values.sessions as string[]) : []}
            onChange={(next) => put("sessions", next.length ? next : undefined)}
            searchable
            clearable
            clearButtonProps={{ "aria-label": "All sessions" }}
          />
          <div className={form.pair}>
            {input("train_steps", "Steps")}
            {input("max_memories", "Most turns")}
          </div>
        </>
      )}
      <div className={form.pair}>
        {input("max_core_rise", nano ? "Largest rise (share)" : "Core may rise by")}
        {input("seed", "Seed")}
      </div>
      {!nano && (
        <Fold title="Training" about="core text, rates, lengths">
          <fieldset style={{ display: "flex", flexDirection: "column", gap: 12, margin: 0, padding: 13, border: 0 }}>
            <TextInput
              label="Core text"
              placeholder="what the base learned"
              value={String(values.core_path ?? "")}
              onChange={(event) => put("core_path", event.currentTarget.value || undefined)}
            />
            <div className={form.pair}>
              {input("core_ratio", "Share of core text")}
              {input("seq_len", "Tokens a sequence", "128, or what there is")}
              {input("lr", "Learning rate", mode === "replay" ? "0.0002" : "0.2 (TTT: 0.01)")}
            </div>
          </fieldset>
        </Fold>
      )}
      <TextInput
        label="Candidate's id"
        placeholder="chosen for you"
        value={name}
        onChange={(event) => put("model_id", event.currentTarget.value.trim() || undefined)}
        error={name && !ID.test(name) ? "a–z, 0–9, - and _ only" : undefined}
      />
      <div className={form.hint}>
        The same on the command line
        <Line text={command(request)} />
      </div>
      <Problem error={start.error} />
      <Button type="submit" loading={start.isPending} disabled={!schema.data || (name !== "" && !ID.test(name))}>
        Start the sleep
      </Button>
    </form>
  );
}
