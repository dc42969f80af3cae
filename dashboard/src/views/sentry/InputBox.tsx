import { Button, Textarea } from "@mantine/core";
import { useRef, useState } from "react";
import { bytes, plural, whole } from "../../lib/format";
import { fileProblem, readText } from "../../lib/monitor";
import { ApiProblem } from "../../lib/problem";
import { File as FileIcon } from "../../ui/icons";
import { Problem } from "../../ui/Problem";
import { FOCUS_TARGET } from "../../lib/keys";
import { type Example, examples } from "./examples";
import classes from "./RunForm.module.css";

interface Props {
  text: string;
  model: string;
  onChange: (text: string) => void;
  onExample: (example: Example) => void;
}

/** The text to read: typed, an example, or a file that is dropped or chosen. */
export function InputBox({ text, model, onChange, onExample }: Props) {
  const [over, setOver] = useState(false);
  const [file, setFile] = useState<{ name: string; size: number; text: string } | null>(null);
  const [problem, setProblem] = useState<ApiProblem | null>(null);
  const picker = useRef<HTMLInputElement>(null);
  const example = examples.find((entry) => text.length > 400 && entry.text() === text);

  const take = async (chosen: File | undefined) => {
    if (!chosen) return;
    const wrong = fileProblem(chosen.name, chosen.size, model);
    const read = wrong ? null : readText(await chosen.arrayBuffer());
    if (wrong) setProblem(new ApiProblem(0, "Not taken", wrong));
    else if (read === null) {
      const said = `${chosen.name} is not UTF-8 text. The command line reads any bytes: fastweights monitor --file ${chosen.name} --model ${model}`;
      setProblem(new ApiProblem(0, "Not taken", said));
    } else {
      setProblem(null);
      setFile({ name: chosen.name, size: chosen.size, text: read });
      onChange(read);
    }
  };

  const from = example ? example.about : file?.text === text ? `${file.name}, ${bytes(file.size)}` : null;
  return (
    <div
      className={classes.drop}
      data-over={over || undefined}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        void take(event.dataTransfer.files[0]);
      }}
    >
      <Textarea
        {...FOCUS_TARGET}
        label="Text to monitor"
        placeholder="Type or paste a text, drop a file here, or begin with an example"
        rows={8}
        maxLength={262144}
        classNames={{ input: classes.text }}
        spellCheck={false}
        value={text}
        onChange={(event) => onChange(event.currentTarget.value)}
      />
      <div className={classes.examples} role="group" aria-label="Examples">
        {examples.map((entry) => (
          <button
            key={entry.name}
            type="button"
            title={entry.about}
            aria-pressed={entry === example}
            onClick={() => {
              setProblem(null);
              onExample(entry);
            }}
          >
            {entry.name}
          </button>
        ))}
      </div>
      <div className={classes.facts}>
        <span>{text ? [plural(text.length, "character"), from].filter(Boolean).join(" · ") : `up to ${whole(262144)} characters`}</span>
        <Button variant="subtle" color="gray" size="compact-xs" leftSection={<FileIcon size={14} />} onClick={() => picker.current?.click()}>
          Choose a file
        </Button>
        <input
          ref={picker}
          type="file"
          hidden
          aria-label="File to monitor"
          onChange={(event) => {
            void take(event.currentTarget.files?.[0]);
            event.currentTarget.value = "";
          }}
        />
      </div>
      <Problem error={problem} />
    </div>
  );
}
