import { Button, Group, Modal, NumberInput, Select, TextInput } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "../../api/client";
import { putJob } from "../../api/follow";
import { jobs, presets, readAnew } from "../../api/queries";
import type { TrainJob, TrainRequest } from "../../api/types";
import { META_PRESETS } from "../../lib/runs";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";

const ID = /^[a-z0-9][a-z0-9_-]{0,63}$/;

/** Starts a run of a preset that meta-learns. What is left empty is the preset's choice. */
export function NewMeta({ onClose, onStarted }: { onClose: () => void; onStarted: (job: TrainJob) => void }) {
  const list = useQuery(presets);
  const known = list.data?.filter((entry) => META_PRESETS.includes(entry.name)) ?? [];
  const [preset, setPreset] = useState(META_PRESETS[0] as string);
  const [steps, setSteps] = useState<number | "">("");
  const [seed, setSeed] = useState<number | "">("");
  const [name, setName] = useState("");
  const info = known.find((entry) => entry.name === preset);
  const start = useMutation({
    mutationFn: () => {
      const body: Partial<TrainRequest> = { preset, steps: steps === "" ? null : steps, ...(seed !== "" && { seed }), model_id: name.trim() || null };
      return take(api.POST("/api/text/train", { body: body as TrainRequest }));
    },
    onSuccess: async (job) => {
      putJob(job);
      await readAnew(jobs.queryKey);
      onClose();
      onStarted(job);
    },
  });
  return (
    <Modal opened onClose={onClose} title="New run of meta-learning" closeButtonProps={{ "aria-label": "Close" }}>
      <form
        className={page.dialog}
        onSubmit={(event) => {
          event.preventDefault();
          start.mutate();
        }}
      >
        <Problem error={list.error} onRetry={() => void list.refetch()} />
        <Select
          data-autofocus
          label="Preset"
          data={known.map((entry) => entry.name)}
          value={preset}
          onChange={(next) => next && setPreset(next)}
          description={info?.description}
          inputWrapperOrder={["label", "input", "description", "error"]}
        />
        <div className={page.pair}>
          <NumberInput
            label="Steps"
            value={steps}
            onChange={(value) => setSteps(typeof value === "number" ? value : "")}
            placeholder={info && String(info.steps)}
            min={1}
            allowDecimal={false}
          />
          <NumberInput label="Seed" value={seed} onChange={(value) => setSeed(typeof value === "number" ? value : "")} placeholder="0" min={0} allowDecimal={false} />
        </div>
        <TextInput
          label="Model id"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          placeholder="chosen for you"
          error={name && !ID.test(name) ? "a–z, 0–9, - and _ only" : undefined}
        />
        <Problem error={start.error} />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={start.isPending} disabled={name !== "" && !ID.test(name)}>
            Start meta-learning
          </Button>
        </Group>
      </form>
    </Modal>
  );
}
