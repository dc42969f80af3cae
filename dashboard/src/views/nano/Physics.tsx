import { ActionIcon, Button, NumberInput, SegmentedControl, Switch } from "@mantine/core";
import { useWindowEvent } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { nanoSimulation } from "../../api/sessionVerbs";
import type { NanoPrediction, NanoSimulation } from "../../api/types";
import { figure, fixed, whole } from "../../lib/format";
import { isTyping } from "../../lib/keys";
import { CHUNK, updateMarks } from "../../lib/nano";
import { around, overlay, points, stepTo } from "../../lib/physics";
import { nameOf } from "../../lib/tree";
import { Chart, type RunCurve } from "../../ui/Chart";
import { Back, Forth, Pause, Play } from "../../ui/icons";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { DecisionMark } from "../../ui/Status";
import { Swatch } from "../../ui/Swatch";
import classes from "./Nano.module.css";
import type { TabProps } from "./NanoPage";
import css from "./Physics.module.css";
import { type Track, Trajectory } from "./Trajectory";
import { useChoice } from "./useNano";

const MOST_MU = 0.5;
const MOST_STEPS = 2000;
const STEPS = 200;
const REACH = 12;
const GAINS = ["1", "10", "100"];
/** Between two steps while it plays. */
const BEAT_MS = 90;
const WAIT_MS = 90;

const READERS: { name: "adaptive" | "frozen" | "baseline"; label: string; slot: number }[] = [
  { name: "baseline", label: "base", slot: 1 },
  { name: "frozen", label: "session, no updates", slot: 2 },
  { name: "adaptive", label: "session, learning", slot: 0 },
];

const number = (text: string | null, low: number, high: number, otherwise: number): number => {
  const value = text === null || text === "" ? Number.NaN : Number(text);
  return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
};

/** The real model in a world of any friction, simulated on the server; nothing is stored. */
export default function Physics({ view }: TabProps) {
  const { session, at } = view;
  const [search, put] = useChoice();
  const mu = number(search.get("mu"), 0, MOST_MU, +session.mu.toFixed(4));
  const seed = Math.round(number(search.get("seed"), 0, Number.MAX_SAFE_INTEGER, session.options.seed));
  const steps = Math.round(number(search.get("steps"), 2, MOST_STEPS, STEPS));
  const adapt = search.get("learn") !== "off";
  const [slid, slide] = useState(mu);
  useEffect(() => slide(mu), [mu]);
  useEffect(() => {
    if (slid === mu) return;
    const later = setTimeout(() => put({ mu: String(slid) }), WAIT_MS);
    return () => clearTimeout(later);
  }, [slid]);
  const body = { session: session.session_id, at: at.commit, mode: session.model, mu, seed, steps, noise: session.options.noise, adapt };
  const { data, error, isFetching, refetch } = useQuery(nanoSimulation(body));
  return (
    <>
      <form className={css.controls} aria-label="World" onSubmit={(event) => event.preventDefault()}>
        <label className={css.mu}>
          <span>
            Friction μ <b className="num">{fixed(slid, 4)}</b>
            {slid !== +session.mu.toFixed(4) && (
              <Button variant="subtle" size="compact-xs" onClick={() => slide(+session.mu.toFixed(4))}>
                back to the session's {fixed(session.mu, 4)}
              </Button>
            )}
          </span>
          <input type="range" aria-label="Friction μ" min={0} max={MOST_MU} step={0.005} value={slid} onChange={(event) => slide(Number(event.currentTarget.value))} />
          <small className={css.trained}>
            <span style={{ left: `${(100 * 0.02) / MOST_MU}%`, width: `${(100 * 0.23) / MOST_MU}%` }}>the base saw 0.02 to 0.25</span>
          </small>
        </label>
        <NumberInput label="Seed" w={84} value={seed} min={0} allowDecimal={false} onChange={(value) => typeof value === "number" && put({ seed: String(value) })} />
        <NumberInput
          label="Steps"
          w={84}
          value={steps}
          min={2}
          max={MOST_STEPS}
          allowDecimal={false}
          onChange={(value) => typeof value === "number" && value >= 2 && put({ steps: String(value) })}
        />
        <Switch className={css.learn} label="Learn while reading" checked={adapt} onChange={(event) => put({ learn: event.currentTarget.checked ? null : "off" })} />
      </form>
      <Problem error={error} onRetry={() => void refetch()} />
      {!data && isFetching && <p className={page.wait}>Simulating …</p>}
      {data && <Shown data={data} commit={nameOf(at)} busy={isFetching} />}
    </>
  );
}

function Shown({ data, commit, busy }: { data: NanoSimulation; commit: string; busy: boolean }) {
  const [search, put] = useChoice();
  const last = data.t.length - 1;
  const [step, setStep] = useState(() => number(search.get("step"), 1, last + 1, 1) - 1);
  const [playing, play] = useState(false);
  const here = Math.min(step, last);
  const gain = GAINS.find((value) => value === search.get("gain")) ?? "10";

  useEffect(() => {
    if (!playing) return;
    const beat = setInterval(() => setStep((now) => Math.min(last, now + 1)), BEAT_MS);
    return () => clearInterval(beat);
  }, [playing, last]);
  useEffect(() => {
    if (here === last) play(false);
  }, [here, last]);
  // A browser limits how often an address may change: only a step that was stayed at is written into it.
  useEffect(() => {
    if (playing) return;
    const later = setTimeout(() => put({ step: here === 0 ? null : String(here + 1) }), 300);
    return () => clearTimeout(later);
  }, [here, playing]);

  const toggle = () => {
    if (!playing && here === last) setStep(0);
    play(!playing);
  };
  useWindowEvent("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.defaultPrevented || isTyping(target) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.closest("input, [role=dialog], [role=listbox], [role=radiogroup]")) return;
    if (event.key === " " && !target.closest("button, a")) {
      event.preventDefault();
      toggle();
      return;
    }
    const to = stepTo(here, last + 1, event.key, event.shiftKey);
    if (to === null) return;
    event.preventDefault();
    play(false);
    setStep(to);
  });

  const drawn = useMemo(() => {
    const truth = points(data.pos);
    const tracks = READERS.map(({ name, slot }): Track => ({ slot, points: overlay(truth, data[name], Number(gain)) }));
    return { truth, tracks: data.adapt ? tracks : tracks.filter(({ slot }) => slot !== 0) };
  }, [data, gain]);
  const curves = useMemo(
    () =>
      READERS.filter(({ name }) => data.adapt || name !== "adaptive").map(
        ({ name, label, slot }): RunCurve => ({ id: label, slot, x: data.t, y: data[name].mse as (number | null)[] }),
      ),
    [data],
  );
  const marks = useMemo(() => updateMarks(data.updates), [data]);
  const bands = useMemo(() => [{ name: `step ${data.t[here]}`, from: here + 0.5, to: here + 1.5, on: true }], [data, here]);
  const go = (to: number) => {
    play(false);
    setStep(Math.min(last, Math.max(0, to)));
  };
  const write = data.updates.find((update) => update.t === data.t[here]);
  return (
    <div className={css.shown} aria-busy={busy} data-simulation={data.commit} data-mu={data.mu} data-step={data.t[here]} data-playing={playing}>
      <div className={css.legend}>
        <span>
          <svg width="22" height="8" viewBox="0 0 22 8" aria-hidden="true">
            <path d="M0 4h22" stroke="var(--ink)" strokeWidth="2.6" />
          </svg>
          the body
        </span>
        {READERS.filter(({ name }) => data.adapt || name !== "adaptive").map(({ name, label, slot }) => (
          <span key={name}>
            <Swatch slot={slot} /> {label}
          </span>
        ))}
        <span className={css.gain}>
          errors drawn
          <SegmentedControl aria-label="How large errors are drawn" value={gain} onChange={(value) => put({ gain: value === "10" ? null : value })} data={GAINS.map((value) => ({ value, label: `× ${value}` }))} />
        </span>
      </div>
      <div className={css.views}>
        <Trajectory title="Path" about={`${whole(last + 1)} steps from rest, one-step-ahead predictions of ${commit}`} truth={drawn.truth} tracks={drawn.tracks} here={here} range={[0, last + 1]} />
        <Trajectory title="Around the step" about={`steps ${around(here, last + 1, REACH)[0] + 1} to ${around(here, last + 1, REACH)[1]}`} truth={drawn.truth} tracks={drawn.tracks} here={here} range={around(here, last + 1, REACH)} dots />
      </div>
      <div className={css.player} role="group" aria-label="Steps">
        <ActionIcon variant="default" size="lg" aria-label={playing ? "Pause" : "Play"} title={playing ? "Pause (space)" : "Play (space)"} onClick={toggle}>
          {playing ? <Pause /> : <Play />}
        </ActionIcon>
        <ActionIcon variant="default" size="lg" aria-label="One step back" title="One step back (←)" disabled={here === 0} onClick={() => go(here - 1)}>
          <Back />
        </ActionIcon>
        <ActionIcon variant="default" size="lg" aria-label="One step on" title="One step on (→)" disabled={here === last} onClick={() => go(here + 1)}>
          <Forth />
        </ActionIcon>
        <input type="range" aria-label="Step" min={1} max={last + 1} value={here + 1} onChange={(event) => go(Number(event.currentTarget.value) - 1)} />
        <span className={css.at}>
          step <b className="num">{whole(data.t[here])}</b> of {whole(last + 1)}
        </span>
      </div>
      <dl className={classes.cards} data-plain>
        <Reading name="Position" value={pair(data.pos[here])} unit="x, y" />
        <Reading name="Velocity" value={pair(data.vel[here])} unit="a step" />
        <Reading name="Push" value={pair(data.action[here])} unit="action" />
        <Reading name="Friction here" value={fixed(data.friction[here], 4)} unit={data.mode === "nonlinear" ? "by its speed" : "everywhere"} />
        {READERS.filter(({ name }) => data.adapt || name !== "adaptive").map(({ name, label }) => (
          <Error key={name} label={label} of={data[name]} here={here} />
        ))}
        <div>
          <dt>Write after it</dt>
          <dd className={css.write}>{write ? <DecisionMark decision={write.status} /> : data.adapt ? `next at step ${whole(Math.ceil((here + 1) / CHUNK) * CHUNK)}` : "none: not learning"}</dd>
          {write && write.reasons.length > 0 && <dd className={classes.cardAbout}>{write.reasons.join("; ")}</dd>}
        </div>
      </dl>
      <Chart
        title="Error of each step"
        unit="MSE"
        xLabel="step"
        curves={curves}
        format={(value) => figure(value)}
        sync="nano-physics"
        height={190}
        log
        marks={marks}
        bands={bands}
        onPick={(x) => go(x - 1)}
      />
    </div>
  );
}

const pair = (values: readonly (number | null)[] | undefined): string => (values ?? []).map((value) => fixed(value, 2)).join(", ");

function Reading({ name, value, unit }: { name: string; value: string; unit: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <span className="num">{value}</span> <small>{unit}</small>
      </dd>
    </div>
  );
}

function Error({ label, of, here }: { label: string; of: NanoPrediction; here: number }) {
  return (
    <div data-error={label}>
      <dt>Error, {label}</dt>
      <dd>
        <span className="num">{figure(of.mse[here])}</span> <small>MSE</small>
      </dd>
      <dd className={classes.cardAbout}>mean {figure(of.mean_mse)}</dd>
    </div>
  );
}
