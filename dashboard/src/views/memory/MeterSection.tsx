import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { Link } from "wouter";
import { meter } from "../../api/sessionVerbs";
import type { Meter } from "../../api/types";
import { DECISION_LABEL } from "../../lib/events";
import { bytes, fixed, MISSING, signed, whole } from "../../lib/format";
import { chunkAt, meterCurves, refusals, turnBands } from "../../lib/meter";
import { Chart, type RunCurve } from "../../ui/Chart";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { DecisionMark } from "../../ui/Status";
import strip from "../../ui/Strip.module.css";
import table from "../../ui/Table.module.css";
import { mark, marks, useIsMarked, useMarked } from "../../ui/useMarked";
import classes from "./Memory.module.css";

/** What learning gained on everything that the session has read. */
export function MeterSection({ id, head }: { id: string; head: string }) {
  const { data, error, isPending, refetch } = useQuery(meter(id, head));
  return (
    <section className={page.section} aria-label="Adaptation meter" data-meter={data?.head}>
      <div className={page.head}>
        <h2>What learning gains</h2>
        {data && <p className={page.about}>each chunk scored before it is learned, beside the model that learns nothing</p>}
      </div>
      <Problem error={error} onRetry={() => void refetch()} />
      {isPending && <p className={page.wait} role="status">Scoring what {id} has read …</p>}
      {data && <Metered meter={data} />}
    </section>
  );
}

function Metered({ meter }: { meter: Meter }) {
  const curves = useMemo(() => meterCurves(meter), [meter]);
  const marked = useMarked();
  const bands = useMemo(() => turnBands(meter, marked), [meter, marked]);
  const refused = useMemo(() => curves.marks.filter((entry) => entry.decision !== "committed"), [curves]);
  const sums = useMemo(
    (): RunCurve[] => [
      { id: "adapted", label: "adapted", slot: 0, ...curves.adapted },
      { id: "frozen", label: "frozen", slot: 1, ...curves.frozen },
    ],
    [curves],
  );
  const gain = useMemo((): RunCurve[] => [{ id: "gain", slot: 0, ...curves.gain }], [curves]);
  const shared = {
    xLabel: "byte",
    sync: "memory",
    height: 210,
    marks: refused,
    bands,
    onPoint: (x: number | null) => mark(x === null ? null : (chunkAt(meter, x)?.commit ?? null)),
    tell: (x: number) => {
      const chunk = chunkAt(meter, x);
      return chunk && `turn ${chunk.turn}${chunk.decision === "committed" ? "" : `, ${DECISION_LABEL[chunk.decision]}`}`;
    },
  };
  return (
    <>
      <dl className={strip.figures}>
        <Figure name="Gain, bits per byte" value={signed(meter.gain)} />
        <Figure name="Adapted" value={fixed(meter.adapted)} />
        <Figure name="Frozen" value={fixed(meter.frozen)} />
        <Figure name="PPM on the same" value={fixed(meter.ppm)} />
        <Figure name="Read" value={bytes(meter.bytes)} />
        <Figure name="Chunks learned" value={whole(meter.committed)} />
        <Figure name="Refused" value={whole(meter.refused)} />
        <Figure name="Fast weights" value={bytes(meter.fast_bytes)} />
        <Figure name="Stored state" value={bytes(meter.state_bytes)} />
        {meter.memory && <Figure name="Memory" value={meter.memory.replaceAll("_", " ")} />}
      </dl>
      <div className={page.grid}>
        <Chart {...shared} title="Bits per byte so far" unit="over all that was read" curves={sums} format={(value) => fixed(value)} />
        <Chart {...shared} title="Gain of each chunk" unit="bits per byte" curves={gain} format={(value) => signed(value)} />
      </div>
      <div className={`${table.scroll} ${classes.table}`} tabIndex={0} role="region" aria-label="Turns">
        <table className={table.table}>
          <thead>
            <tr>
              <th scope="col">Turn</th>
              <th scope="col">Begins with</th>
              <th scope="col" className={table.right}>Bytes</th>
              <th scope="col" className={table.right}>Adapted</th>
              <th scope="col" className={table.right}>Frozen</th>
              <th scope="col" className={table.right}>Gain</th>
              <th scope="col">Refused</th>
              <th scope="col" className={table.right}>State</th>
            </tr>
          </thead>
          <tbody>
            {meter.turns.map((turn) => (
              <Row key={turn.commit} meter={meter} turn={turn} />
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Row({ meter, turn }: { meter: Meter; turn: Meter["turns"][number] }) {
  const marked = useIsMarked(turn.commit);
  const gain = turn.adapted === null || turn.frozen === null ? null : turn.frozen - turn.adapted;
  const refused = refusals(meter, turn.commit);
  return (
    <tr data-metered={turn.turn} data-focus={marked || undefined} {...marks(turn.commit)}>
      <th scope="row">
        <Link href={`/chat/${meter.session_id}`} className={table.name}>
          turn {turn.turn}
        </Link>
      </th>
      <td className={table.clip} title={turn.summary}>
        {turn.summary}
      </td>
      <td className={table.right}>{whole(turn.bytes)}</td>
      <td className={table.right}>{fixed(turn.adapted)}</td>
      <td className={table.right}>{fixed(turn.frozen)}</td>
      <td className={`${table.right} ${classes.gain}`} data-better={gain === null || Math.abs(gain) < 0.0005 ? undefined : gain > 0}>
        {signed(gain)}
      </td>
      <td>
        <span className={classes.refused}>
          {refused.length === 0 && "none"}
          {refused.map(({ decision, count }) => (
            <DecisionMark key={decision} decision={decision} count={count} />
          ))}
        </span>
      </td>
      <td className={table.right}>{turn.state_bytes === null ? MISSING : bytes(turn.state_bytes)}</td>
    </tr>
  );
}

export function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
