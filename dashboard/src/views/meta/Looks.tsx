import { Slider } from "@mantine/core";
import { useMemo, useState } from "react";
import { useSearchParams } from "wouter";
import type { TrainPoint } from "../../api/types";
import { fixed, percent, signed, whole } from "../../lib/format";
import { alongSequence, type Along, fallOf, lookAt, looksOf, ratesOf } from "../../lib/meta";
import { heldOutUnit, isLive, type Run } from "../../lib/runs";
import { Chart, type RunCurve } from "../../ui/Chart";
import { Empty } from "../../ui/Empty";
import page from "../../ui/Page.module.css";
import strip from "../../ui/Strip.module.css";
import classes from "./Meta.module.css";
import { Rates } from "./Rates";

const SLOT: Record<Along["name"], number> = { after: 0, off: 1, before: 2 };
const NAME: Record<Along["name"], string> = { after: "with updates", off: "updates off", before: "before meta-learning" };

/** One figure of every look. */
const over = (looks: readonly TrainPoint[], of: (look: TrainPoint) => number | null | undefined, id: string, slot: number): RunCurve => ({
  id,
  slot,
  label: id,
  x: looks.map((look) => look.step),
  y: looks.map((look) => of(look) ?? null),
});

/** All that the looks of one run found. The one on show is in the URL; pointing at a chart shows another for as long. */
export function Looks({ run, points }: { run: Run; points: TrainPoint[] }) {
  const looks = useMemo(() => looksOf(points), [points]);
  const [search, setSearch] = useSearchParams();
  const [pointed, setPointed] = useState<number | null>(null);
  const pinned = search.get("look");
  const shown = lookAt(looks, pointed ?? (pinned === null ? null : Number(pinned)));
  const pin = (step: number) => setSearch(step === looks.at(-1)?.step ? {} : { look: String(step) }, { replace: true });

  const along = useMemo(
    () => alongSequence(looks, shown).map(({ name, x, y }): RunCurve => ({ id: NAME[name], label: NAME[name], slot: SLOT[name], x, y })),
    [looks, shown],
  );
  const rates = useMemo(() => ratesOf(looks), [looks]);
  const accuracy = useMemo(() => [over(looks, (look) => look.far, "far", 0), over(looks, (look) => look.near, "near", 1)], [looks]);
  const outer = useMemo(() => [over(points, (point) => point.loss, "in training", 0)], [points]);
  const heldOut = useMemo(() => {
    const on = over(looks, (look) => look.val_bpb, "with updates", 0);
    return looks.some((look) => look.val_bpb_off != null) ? [on, over(looks, (look) => look.val_bpb_off, "updates off", 1)] : [on];
  }, [looks]);

  if (!shown) {
    return (
      <div className="panel">
        <Empty title="Nothing was measured yet">
          {isLive(run.status) ? "The first look at held-out sequences comes with the first step." : "This run ended before its first look at held-out sequences."}
        </Empty>
      </div>
    );
  }
  const isKv = looks.some((look) => look.far != null);
  const steps = { xLabel: "step", sync: "meta", sparse: true, height: 210, onPoint: setPointed, onPick: pin };
  const heldOutChart = <Chart {...steps} title="Held-out loss" unit={heldOutUnit(run)} curves={heldOut} format={(value) => fixed(value)} />;
  const outerChart = <Chart {...steps} sparse={false} title="Outer loss" unit={isKv ? "nats an answer" : "nats per token"} curves={outer} format={(value) => fixed(value)} />;
  return (
    <section className={page.section} aria-label="Looks" data-looks={looks.length} data-look={shown.step}>
      <div className={page.head}>
        <h2>What reading teaches it</h2>
        <div className={classes.look}>
          <span>Look at step</span>
          <Slider
            className={classes.slider}
            size="sm"
            label={null}
            min={0}
            max={Math.max(1, looks.length - 1)}
            step={1}
            disabled={looks.length < 2}
            value={looks.indexOf(shown)}
            onChange={(index) => pin((looks[index] as TrainPoint).step)}
            thumbLabel="Look at step"
            thumbProps={{ "aria-valuetext": `step ${shown.step}` }}
          />
          <output>
            {whole(shown.step)} of {whole(run.steps)}
          </output>
        </div>
      </div>
      <dl className={strip.figures} data-figures>
        {isKv && <Figure name="Far answers right" value={percent(shown.far, 1)} />}
        {isKv && <Figure name="Near answers right" value={percent(shown.near, 1)} />}
        <Figure name={`Held-out ${heldOutUnit(run)}`} value={fixed(shown.val_bpb)} />
        {shown.val_bpb_off != null && <Figure name="The same with updates off" value={fixed(shown.val_bpb_off)} />}
        {shown.inner_loss && <Figure name="Loss from first chunk to last" value={`${change(shown.inner_loss)} nats`} />}
        {shown.inner_loss_off && <Figure name="With updates off" value={`${change(shown.inner_loss_off)} nats`} />}
      </dl>
      <div className={page.grid}>
        {along.length > 0 && (
          <Chart title="Inner loss along a sequence" unit="nats per token" xLabel="chunk" sync="meta-along" sparse height={210} curves={along} format={(value) => fixed(value)} />
        )}
        {isKv && <Chart {...steps} title="Right answers" unit="share" curves={accuracy} format={(value) => percent(value, 1)} />}
        {!isKv && heldOutChart}
        {!(isKv || along.length > 0) && outerChart}
        {rates.length > 0 && <Rates rates={rates} shown={shown} chart={steps} />}
        {isKv && outerChart}
        {isKv && heldOutChart}
      </div>
      {isKv && (
        <p className={page.hint}>
          Far: the record asked for lies beyond all that attention sees, so only the fast weights can know it. Near: it lies within one window. A look reads
          held-out sequences, each chunk before it is learned.
        </p>
      )}
    </section>
  );
}

const change = (values: TrainPoint["inner_loss"]): string => {
  const fall = fallOf(values);
  return signed(fall === null ? null : -fall);
};

export function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
