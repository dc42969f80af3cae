import { useDisclosure } from "@mantine/hooks";
import { beginning, count } from "../../lib/format";
import classes from "./Texts.module.css";

/** What was read. A long passage is cut until asked for. */
export function Prompt({ text }: { text: string }) {
  const [whole, { toggle }] = useDisclosure(false);
  const cut = beginning(text);
  return (
    <div className={classes.prompt}>
      <span className="visually-hidden">Prompt: </span>
      {whole || cut === null ? text : cut}
      {cut !== null && (
        <button type="button" onClick={toggle}>
          {whole ? "Show less" : `Show all ${count(text.length)} characters`}
        </button>
      )}
    </div>
  );
}

interface RepliesProps {
  adapted: string;
  /** The reply of the same prompt and seed without fast weights; null where it was not asked for. */
  frozen: string | null;
  learned: boolean;
  writing?: "adapted" | "frozen";
  waiting?: string;
}

export function Replies({ adapted, frozen, learned, writing, waiting }: RepliesProps) {
  if (frozen === null) {
    return (
      <div className={classes.reply} data-reply="adapted" aria-label="Reply" role="group">
        <Text text={adapted} writing={writing === "adapted"} waiting={waiting} />
      </div>
    );
  }
  return (
    <div className={classes.pair}>
      <section className={classes.reply} data-reply="frozen" aria-label="Frozen reply">
        <h3>
          Frozen <small>no fast weights</small>
        </h3>
        <Text text={frozen} writing={writing === "frozen"} waiting={waiting} />
      </section>
      <section className={classes.reply} data-reply="adapted" aria-label="Adapted reply">
        <h3>
          Adapted <small>{learned ? "after learning from the prompt" : "with earlier fast weights"}</small>
        </h3>
        <Text text={adapted} writing={writing === "adapted"} waiting={waiting} />
      </section>
    </div>
  );
}

function Text({ text, writing, waiting }: { text: string; writing: boolean; waiting?: string }) {
  if (!text && waiting) return <p className={classes.waiting}>{waiting}</p>;
  if (!text && !writing) return <p className={classes.waiting}>(empty)</p>;
  return (
    <p className={classes.text}>
      {text}
      {writing && <i className={classes.caret} aria-hidden="true" />}
    </p>
  );
}
