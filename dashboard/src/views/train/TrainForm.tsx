import { Autocomplete, Button, NumberInput, Select, TextInput } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "../../api/client";
import { putJob } from "../../api/follow";
import { corpora, jobs, openapi, presets, readAnew } from "../../api/queries";
import type { TrainJob, TrainRequest } from "../../api/types";
import { bytes } from "../../lib/format";
import { field } from "../../lib/schema";
import classes from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { FOCUS_TARGET } from "../../lib/keys";

/** Starts a run. What is left empty is the preset's or the server's choice, and the placeholder says which. */
export function TrainForm({ onStarted }: { onStarted: (job: TrainJob) => void }) {
  const presetList = useQuery(presets);
  const corpusList = useQuery(corpora);
  const schema = useQuery(openapi);
  const [preset, setPreset] = useState<string | null>(null);
  const [corpus, setCorpus] = useState<string | null>(null);
  const [steps, setSteps] = useState<number | "">("");
  const [seed, setSeed] = useState<number | "">("");
  const [tokenizer, setTokenizer] = useState("");
  const [name, setName] = useState("");

  const start = useMutation({
    mutationFn: (body: Partial<TrainRequest>) => take(api.POST("/api/text/train", { body: body as TrainRequest })),
    onSuccess: (job) => {
      putJob(job);
      void readAnew(jobs.queryKey);
      setName("");
      onStarted(job);
    },
  });

  const standard = field(schema.data, "TrainRequest", "preset").default;
  const chosenPreset = preset ?? (typeof standard === "string" ? standard : null);
  const presetInfo = presetList.data?.find((entry) => entry.name === chosenPreset);
  const available = corpusList.data?.filter((entry) => entry.available) ?? [];
  const chosenCorpus = corpus ?? available[0]?.name ?? "";
  const corpusInfo = corpusList.data?.find((entry) => entry.name === chosenCorpus);
  const missing = corpusInfo && !corpusInfo.available;

  const submit = (event: { preventDefault: () => void }) => {
    event.preventDefault();
    start.mutate({
      preset: chosenPreset ?? undefined,
      corpus: chosenCorpus.trim() || null,
      steps: steps === "" ? null : steps,
      seed: seed === "" ? undefined : seed,
      tokenizer: tokenizer.trim() || null,
      model_id: name.trim() || null,
    });
  };

  return (
    <form className={classes.form} onSubmit={submit} aria-label="New run">
      <h2>New run</h2>
      <Problem error={presetList.error ?? corpusList.error} onRetry={() => void Promise.all([presetList.refetch(), corpusList.refetch()])} />
      <Select
        {...FOCUS_TARGET}
        label="Preset"
        data={presetList.data?.map((entry) => entry.name) ?? []}
        value={chosenPreset}
        disabled={presetList.isPending}
        onChange={setPreset}
        description={presetInfo?.description}
        inputWrapperOrder={["label", "input", "description", "error"]}
      />
      <Autocomplete
        label="Corpus"
        data={corpusList.data?.map((entry) => entry.name) ?? []}
        value={chosenCorpus}
        disabled={corpusList.isPending}
        onChange={setCorpus}
        filter={({ options }) => options}
        description={missing ? undefined : corpusInfo ? sizeOf(corpusInfo) : "A folder or file on the server's machine."}
        error={missing ? corpusInfo.hint || "Not on this machine." : undefined}
        inputWrapperOrder={["label", "input", "description", "error"]}
      />
      <div className={classes.pair}>
        <NumberInput
          label="Steps"
          value={steps}
          onChange={(value) => setSteps(typeof value === "number" ? value : "")}
          placeholder={presetInfo ? String(presetInfo.steps) : undefined}
          min={1}
          allowDecimal={false}
        />
        <NumberInput
          label="Seed"
          value={seed}
          onChange={(value) => setSeed(typeof value === "number" ? value : "")}
          placeholder={String(field(schema.data, "TrainRequest", "seed").default ?? "")}
          min={0}
          allowDecimal={false}
        />
      </div>
      <Autocomplete
        label="Tokenizer"
        data={["byte", "bpe"]}
        value={tokenizer}
        onChange={setTokenizer}
        filter={({ options }) => options}
        placeholder="as the preset says"
        description="Bytes, byte pairs learned from the corpus, or a saved tokenizer.json on the server's machine."
        inputWrapperOrder={["label", "input", "description", "error"]}
      />
      <TextInput
        label="Model id"
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        placeholder="chosen for you"
        error={name && !/^[a-z0-9][a-z0-9_-]{0,63}$/.test(name) ? "a–z, 0–9, - and _ only" : undefined}
      />
      <Problem error={start.error} />
      <Button type="submit" loading={start.isPending} disabled={!chosenPreset}>
        Start training
      </Button>
    </form>
  );
}

function sizeOf(corpus: { bytes?: number | null; hint?: string | null }): string {
  return [corpus.bytes ? bytes(corpus.bytes) : "", corpus.hint ?? ""].filter(Boolean).join(" · ");
}
