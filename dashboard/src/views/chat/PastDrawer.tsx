import { Button, Checkbox, Drawer, Textarea } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { bisect, blame } from "../../api/sessionVerbs";
import type { Bisection, Blame, SessionDetail } from "../../api/types";
import { fixed, signed } from "../../lib/format";
import { type Blamed, bisected, blamed, effect, MAX_PROBE, type Probe } from "../../lib/past";
import { Problem } from "../../ui/Problem";
import { marks, useIsMarked } from "../../ui/useMarked";
import classes from "./PastDrawer.module.css";

const TOP = 5;

const EFFECT: Record<ReturnType<typeof effect>, string> = { taught: "taught it", unlearned: "made it less likely", nothing: "did nothing", unknown: "not finite" };

interface Props {
  session: SessionDetail;
  /** What is asked at first; null: closed. */
  asked: Probe | null;
  onClose: () => void;
}

/** Questions to the session's past. The turns stay in sight beside it: what is pointed at here is marked there. */
export function PastDrawer({ session, asked, onClose }: Props) {
  return (
    <Drawer
      opened={asked !== null}
      onClose={onClose}
      position="right"
      size={470}
      title="What the turns did"
      withOverlay={false}
      lockScroll={false}
      trapFocus={false}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      {asked && <BlameForm key={`${asked.probe}\n${asked.answer}`} session={session} asked={asked} />}
      <Canaries session={session} />
    </Drawer>
  );
}

function BlameForm({ session, asked }: { session: SessionDetail; asked: Probe }) {
  const [probe, setProbe] = useState(asked.probe);
  const [answer, setAnswer] = useState(asked.answer ?? "");
  const [exact, setExact] = useState(false);
  const ask = useMutation({ mutationFn: () => blame(session.session_id, { probe, answer: answer || null, exact, top: TOP }) });
  useEffect(() => {
    if (asked.probe) ask.mutate(); // a turn was pointed at: its answer is asked about at once
  }, []);
  return (
    <form
      className={classes.form}
      aria-label="Blame"
      onSubmit={(event) => {
        event.preventDefault();
        ask.mutate();
      }}
    >
      <Textarea
        data-autofocus
        label="Text"
        placeholder="what the model is to predict, or what comes before the answer"
        value={probe}
        onChange={(event) => setProbe(event.currentTarget.value)}
        autosize
        minRows={2}
        maxRows={6}
        maxLength={MAX_PROBE}
      />
      <Textarea
        label="Answer"
        placeholder="left empty, the text itself counts"
        value={answer}
        onChange={(event) => setAnswer(event.currentTarget.value)}
        autosize
        minRows={1}
        maxRows={6}
        maxLength={MAX_PROBE}
      />
      <div className={classes.row}>
        <Checkbox checked={exact} onChange={(event) => setExact(event.currentTarget.checked)} label={`Exact: replay without each of the first ${TOP}`} />
        <Button type="submit" size="xs" loading={ask.isPending} disabled={probe === ""}>
          Blame
        </Button>
      </div>
      <Problem error={ask.error} />
      {ask.data && <Blames found={ask.data} />}
    </form>
  );
}

function Blames({ found }: { found: Blame }) {
  return (
    <div data-blame={found.head}>
      <dl className={classes.figures}>
        <div>
          <dt>Loss at the start</dt>
          <dd>{fixed(found.loss_initial)}</dd>
        </div>
        <div>
          <dt>Now</dt>
          <dd>{fixed(found.loss_head)}</dd>
        </div>
        <div>
          <dt>Nats per token, of</dt>
          <dd>{found.tokens} tokens</dd>
        </div>
      </dl>
      <ol className={classes.turns} aria-label="Turns, those that moved it most first">
        {blamed(found).map((turn) => (
          <Row key={turn.commit} turn={turn} />
        ))}
      </ol>
    </div>
  );
}

function Row({ turn }: { turn: Blamed }) {
  const marked = useIsMarked(turn.commit);
  const did = effect(turn.delta);
  return (
    <li data-blamed={turn.turn} data-effect={did} data-marked={marked || undefined} {...marks(turn.commit)}>
      <button type="button" onClick={() => lead(turn.commit)}>
        Turn {turn.turn}
      </button>
      <span className={classes.bar} aria-hidden="true">
        {turn.share > 0 && <i data-effect={did} style={{ width: `${50 * turn.share}%` }} />}
      </span>
      <span className={classes.delta} title={`loss ${fixed(turn.before)} before it, ${fixed(turn.after)} after it`}>
        {signed(turn.delta)}
        <small>
          {EFFECT[did]}
          {turn.exact && ", exact"}
        </small>
      </span>
      <span className={classes.said}>{turn.summary}</span>
    </li>
  );
}

/** To the turn's card. */
function lead(commit: string): void {
  document.querySelector(`[data-commit="${commit}"]`)?.scrollIntoView({ block: "start" });
}

/** By halves: the turn at which the canary that stands highest went bad. */
function Canaries({ session }: { session: SessionDetail }) {
  const ask = useMutation({ mutationFn: () => bisect(session.session_id) });
  return (
    <section className={classes.part} aria-label="Canaries">
      <h3>Which turn harmed a canary</h3>
      <p className={classes.hint}>Canaries are texts whose loss must not rise. Of the one that stands highest above its start, the turn is searched by halves.</p>
      <Button size="xs" variant="default" loading={ask.isPending} onClick={() => ask.mutate()}>
        Search
      </Button>
      <Problem error={ask.error} />
      {ask.data && <Found found={ask.data} />}
    </section>
  );
}

function Found({ found }: { found: Bisection }) {
  return (
    <div data-bisection={found.found?.turn ?? "none"}>
      <p className={classes.found} role="status">
        {found.message}
      </p>
      <ol className={classes.turns} aria-label="States that were looked at">
        {bisected(found).map((step) => (
          <Step key={step.commit} step={step} found={step.commit === found.found?.commit} />
        ))}
      </ol>
    </div>
  );
}

function Step({ step, found }: { step: Bisection["steps"][number]; found: boolean }) {
  const marked = useIsMarked(step.commit);
  return (
    <li data-step={step.turn} data-marked={marked || undefined} {...marks(step.commit)}>
      <button type="button" onClick={() => lead(step.commit)}>
        {step.turn === 0 ? "Start" : `Turn ${step.turn}`}
      </button>
      <span>{step.bad ? (found ? "bad from here on" : "bad") : "good"}</span>
      <span className={classes.delta}>{signed(step.rise)} nats</span>
    </li>
  );
}
