import { Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { policies } from "../api/queries";
import { resolved } from "../lib/policies";

interface Props {
  value: string;
  model: string;
  onChange: (name: string) => void;
  label?: string;
}

/** A policy that ships, by name; says what the name means for the model at hand. */
export function PolicySelect({ value, model, onChange, label = "Policy" }: Props) {
  const list = useQuery(policies);
  const chosen = resolved(list.data ?? [], value, model);
  const other = chosen?.model && chosen.model !== model ? `, not on ${model}` : "";
  return (
    <Select
      label={label}
      data={list.data?.map((entry) => entry.name) ?? [value]}
      value={value}
      onChange={(name) => name && onChange(name)}
      description={chosen && `${chosen.description}${other}`}
      inputWrapperOrder={["label", "input", "description", "error"]}
    />
  );
}
