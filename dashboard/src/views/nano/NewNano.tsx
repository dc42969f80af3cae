import { Button, Group, Modal, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "../../api/client";
import { queryClient } from "../../api/queries";
import { nanoSessions } from "../../api/sessionVerbs";
import type { NanoSession, NewNanoSession } from "../../api/types";
import { Fold } from "../../ui/Fold";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { SchemaField, type Values } from "../../ui/SchemaField";
import classes from "./Nano.module.css";

const ID = /^[a-z0-9][a-z0-9_-]{0,63}$/;

/** A world and how the base model learns in it. Every default is the server's own. */
export function NewNano({ onClose, onMade }: { onClose: () => void; onMade: (made: NanoSession) => void }) {
  const [values, setValues] = useState<Values>({});
  const [name, setName] = useState("");
  const create = useMutation({
    mutationFn: async () => {
      const body = { ...values, session_id: name.trim() || null } as unknown as NewNanoSession;
      const made = await take(api.POST("/api/sessions", { body }));
      await queryClient.invalidateQueries({ queryKey: nanoSessions.queryKey });
      return made;
    },
    onSuccess: (made) => {
      onClose();
      onMade(made);
    },
  });
  const input = (path: string, label: string, placeholder?: string) => (
    <SchemaField schema="NewNanoSession" {...{ path, label, placeholder, values }} onChange={setValues} />
  );
  return (
    <Modal opened onClose={onClose} title="New session of Nano" size="lg" closeButtonProps={{ "aria-label": "Close" }}>
      <form
        className={page.dialog}
        onSubmit={(event) => {
          event.preventDefault();
          create.mutate();
        }}
      >
        <p className="muted">
          A point mass moves under random pushes and a friction that the model does not see. The model was trained on many worlds; here it
          learns this one.
        </p>
        <TextInput
          data-autofocus
          label="Id"
          placeholder="chosen for you"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          error={name && !ID.test(name) ? "a–z, 0–9, - and _ only" : undefined}
        />
        <div className={classes.fields}>
          {input("mode", "World")}
          {input("seed", "Seed")}
          {input("mu", "Friction μ", "as the seed draws")}
          {input("noise", "Random force")}
          {input("learning.rule", "Rule")}
          {input("learning.lr", "Learning rate", "as tuned")}
        </div>
        <Fold title="Guard" about="what a write must not do">
          <fieldset>
            {input("learning.policy.gradient.limit", "Gradient cap")}
            {input("learning.policy.regression.ratio", "Error after / before")}
            {input("learning.policy.audit.max_delta", "Canary rise (MSE)")}
            {input("learning.policy.drift.budget", "Drift budget (MSE)")}
          </fieldset>
        </Fold>
        <Problem error={create.error} />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={create.isPending} disabled={name !== "" && !ID.test(name)}>
            Start session
          </Button>
        </Group>
      </form>
    </Modal>
  );
}
