import { Button, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { useSearchParams } from "wouter";
import { session } from "../../api/queries";
import { recall } from "../../api/sessionVerbs";
import type { Recall } from "../../api/types";
import { bytes, fixed, plural, whole } from "../../lib/format";
import { type Fact, factOf, recallCurves, statedAt } from "../../lib/meter";
import { MAX_PROBE } from "../../lib/past";
import { Chart, type RunCurve } from "../../ui/Chart";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import strip from "../../ui/Strip.module.css";
import table from "../../ui/Table.module.css";
import { mark, marks, useIsMarked } from "../../ui/useMarked";
import classes from "./Memory.module.css";
import { Figure } from "./MeterSection";

/** Asks each state of the session for a fact. The question is in the URL; the curve grows as the session goes on. */
export function RecallSection({ id, head }: { id: string; head: string }) {
  const [search, setSearch] = useSearchParams();
  const asked: Fact = { probe: search.get("probe") ?? "", answer: search.get("answer") ?? "" };
  const { data, error, isFetching, refetch } = useQuery({ ...recall(id, head, asked.probe, asked.answer), enabled: asked.probe !== "" && asked.answer !== "" });
  const ask = (fact: Fact) => setSearch({ probe: fact.probe, answer: fact.answer }, { replace: true });
  return (
    <section className={page.section} aria-label="Recall" data-recall={data?.head}>
      <div className={page.head}>
        <h2>What it still knows</h2>
        <p className={page.about}>bits for each letter of an answer under the fast weights after every turn; 4.7 is knowing nothing but the alphabet</p>
      </div>
      <Ask key={`${asked.probe}\n${asked.answer}`} id={id} asked={asked} busy={isFetching} onAsk={ask} />
      <Problem error={error} onRetry={() => void refetch()} />
      {!data && isFetching && <p className={page.wait} role="status">Asking every state of {id} …</p>}
      {data && <Recalled recall={data} />}
    </section>
  );
}

function Ask({ id, asked, busy, onAsk }: { id: string; asked: Fact; busy: boolean; onAsk: (fact: Fact) => void }) {
  const [fact, setFact] = useState(asked);
  const turns = useQuery(session(id)).data?.turns ?? [];
  const facts = turns.flatMap((turn) => factOf(turn.prompt) ?? []).slice(0, 4);
  return (
    <form
      aria-label="Fact"
      className={page.section}
      onSubmit={(event) => {
        event.preventDefault();
        onAsk(fact);
      }}
    >
      <div className={classes.ask}>
        <TextInput label="What comes before" placeholder="The secret word of Bimo is " maxLength={MAX_PROBE} value={fact.probe} onChange={(event) => setFact({ ...fact, probe: event.currentTarget.value })} />
        <TextInput label="Answer" placeholder="quartz" maxLength={MAX_PROBE} value={fact.answer} onChange={(event) => setFact({ ...fact, answer: event.currentTarget.value })} />
        <Button type="submit" loading={busy} disabled={fact.probe === "" || fact.answer === ""}>
          Recall
        </Button>
      </div>
      {facts.length > 0 && (
        <div className={classes.facts}>
          From its turns:
          {facts.map((entry) => (
            <button key={`${entry.probe}${entry.answer}`} type="button" title={`${entry.probe}${entry.answer}`} onClick={() => onAsk(entry)}>
              <span>{entry.probe}</span>
              <b>{entry.answer}</b>
            </button>
          ))}
        </div>
      )}
    </form>
  );
}

function Recalled({ recall }: { recall: Recall }) {
  const curves = useMemo((): RunCurve[] => {
    const { adapted, frozen, uniform } = recallCurves(recall);
    return [
      { id: "the session", label: "the session", slot: 0, ...adapted },
      { id: "frozen", label: "frozen", slot: 1, ...frozen },
      { id: "alphabet", label: "alphabet", slot: 2, ...uniform },
    ];
  }, [recall]);
  const stated = useMemo(() => statedAt(recall.points).map((point) => ({ x: point.bytes_read, decision: "committed" as const, row: 0 })), [recall]);
  const last = recall.points.at(-1);
  const at = (x: number) => recall.points.findLast((point) => point.bytes_read <= x);
  return (
    <>
      <dl className={strip.figures}>
        <Figure name="Bits per letter now" value={fixed(last?.bits_per_letter, 2)} />
        <Figure name="At the start" value={fixed(recall.points[0]?.bits_per_letter, 2)} />
        <Figure name="Frozen" value={fixed(recall.frozen_bits_per_letter, 2)} />
        <Figure name="Stated" value={plural(last?.stated ?? 0, "time")} />
        <Figure name="Bytes since" value={last?.distance == null ? "never said" : bytes(last.distance)} />
        <Figure name="Letters" value={whole(recall.letters)} />
      </dl>
      <div className={page.grid}>
        <Chart
          title="Recall"
          unit="bits per letter"
          xLabel="byte"
          sync="recall"
          sparse
          height={230}
          curves={curves}
          marks={stated}
          format={(value) => fixed(value, 2)}
          tell={(x) => {
            const point = at(x);
            return point ? (point.turn === 0 ? "the start" : `turn ${point.turn}`) : null;
          }}
          onPoint={(x) => mark(x === null ? null : (at(x)?.commit ?? null))}
        />
        <div className={`${table.scroll} ${classes.table}`} tabIndex={0} role="region" aria-label="States">
          <table className={table.table}>
            <thead>
              <tr>
                <th scope="col">After</th>
                <th scope="col" className={table.right}>Read</th>
                <th scope="col" className={table.right}>Stated</th>
                <th scope="col" className={table.right}>Since</th>
                <th scope="col" className={table.right}>Bits per letter</th>
              </tr>
            </thead>
            <tbody>
              {recall.points.map((point) => (
                <Row key={`${point.turn} ${point.commit}`} point={point} />
              ))}
            </tbody>
          </table>
        </div>
      </div>
      <p className={page.hint}>A tick at the foot: the fact was said in that turn (searched: “{recall.searched}”).</p>
    </>
  );
}

function Row({ point }: { point: Recall["points"][number] }) {
  const marked = useIsMarked(point.commit);
  return (
    <tr data-point={point.turn} data-focus={marked || undefined} {...marks(point.commit)}>
      <th scope="row">{point.turn === 0 ? "the start" : `turn ${point.turn}`}</th>
      <td className={table.right}>{bytes(point.bytes_read)}</td>
      <td className={table.right}>{whole(point.stated)}</td>
      <td className={table.right}>{point.distance === null ? "–" : bytes(point.distance)}</td>
      <td className={table.right}>{fixed(point.bits_per_letter, 2)}</td>
    </tr>
  );
}
