import { ActionIcon, Popover, Switch, Textarea, Tooltip } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { type Dispatch, type SetStateAction, useEffect, useRef } from "react";
import { openapi } from "../../api/queries";
import { describeSampling, readSampling, type SamplingChoice, seedFrom } from "../../lib/sampling";
import { field } from "../../lib/schema";
import { Send, Sliders, Stop } from "../../ui/icons";
import { SchemaField } from "../../ui/SchemaField";
import { FOCUS_TARGET } from "../../lib/keys";
import classes from "./Composer.module.css";
import { type Failure, type Live, send, stop } from "./live";

interface Props {
  id: string;
  live: Live | null;
  failure: Failure | null;
  message: string;
  setMessage: Dispatch<SetStateAction<string>>;
}

export function Composer({ id, live, failure, message, setMessage }: Props) {
  const [learn, setLearn] = useLocalStorage({ key: "fastweights-learn", defaultValue: true });
  const [compare, setCompare] = useLocalStorage({ key: "fastweights-compare", defaultValue: false });
  const [kept, setKept] = useLocalStorage<SamplingChoice>({ key: "fastweights-sampling", defaultValue: {} });
  const input = useRef<HTMLTextAreaElement>(null);
  const choice = readSampling(kept);

  // A message that failed goes back into the field, so that nothing typed is lost.
  useEffect(() => {
    if (failure) setMessage((typed) => typed || failure.message);
  }, [failure, setMessage]);
  useEffect(() => input.current?.focus({ preventScroll: true }), []);

  const submit = () => {
    if (live || message.trim() === "") return;
    void send(id, { message, ...choice, seed: choice.seed ?? seedFrom(Math.random()), frozen: !learn, compare: learn && compare });
    setMessage("");
  };

  return (
    <form
      className={classes.composer}
      aria-label="Message"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <div className={classes.inner}>
        <div className={classes.field}>
          <Textarea
            {...FOCUS_TARGET}
            ref={input}
            aria-label="Text to read and continue"
            placeholder="Text to read and continue"
            autosize
            minRows={1}
            maxRows={9}
            maxLength={65536}
            variant="unstyled"
            classNames={{ root: classes.root, input: classes.input }}
            value={message}
            onChange={(event) => setMessage(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
              event.preventDefault();
              submit();
            }}
          />
          {live ? (
            <Tooltip label="Stop (Esc)">
              <ActionIcon
                variant="filled"
                color="brick"
                size={34}
                aria-label="Stop the reply"
                disabled={live.phase === "stopping"}
                onClick={() => stop(id)}
              >
                <Stop />
              </ActionIcon>
            </Tooltip>
          ) : (
            <Tooltip label="Send (Enter)">
              <ActionIcon variant="filled" color="petrol" size={34} type="submit" aria-label="Send" disabled={message.trim() === ""}>
                <Send />
              </ActionIcon>
            </Tooltip>
          )}
        </div>
        <div className={classes.row}>
          <Tooltip label="Off: the frozen model answers, and the session keeps nothing of the message or the reply.">
            <div>
              <Switch size="xs" label="Learn" checked={learn} onChange={(event) => setLearn(event.currentTarget.checked)} />
            </div>
          </Tooltip>
          <Switch
            size="xs"
            label="Compare with frozen"
            checked={learn && compare}
            disabled={!learn}
            onChange={(event) => setCompare(event.currentTarget.checked)}
          />
          <SamplingMenu choice={choice} onChange={setKept} />
        </div>
      </div>
    </form>
  );
}

function SamplingMenu({ choice, onChange }: { choice: SamplingChoice; onChange: (choice: SamplingChoice) => void }) {
  const { data } = useQuery(openapi);
  const standard = (name: string) => {
    const value = field(data, "Sampling", name).default;
    return typeof value === "number" ? value : undefined;
  };
  const defaults = { temperature: standard("temperature"), top_p: standard("top_p"), max_new_tokens: standard("max_new_tokens") };
  const values = choice as Record<string, unknown>;
  const input = (path: string, label: string, placeholder?: string) => (
    <SchemaField
      schema="Sampling"
      path={path}
      label={label}
      placeholder={placeholder}
      values={values}
      onChange={(next) => onChange(readSampling(next))}
    />
  );
  return (
    <Popover position="top-end" width={300} trapFocus shadow="md" radius="md">
      <Popover.Target>
        <button type="button" className={classes.sampling}>
          <Sliders size={15} />
          <span>
            <span className="visually-hidden">Sampling: </span>
            {describeSampling(choice, defaults)}
          </span>
        </button>
      </Popover.Target>
      <Popover.Dropdown>
        <div className={classes.fields}>
          {input("temperature", "Temperature")}
          {input("top_p", "Top-p")}
          {input("max_new_tokens", "Most tokens")}
          {input("seed", "Seed", "new each time")}
        </div>
      </Popover.Dropdown>
    </Popover>
  );
}
