import { Select } from "@mantine/core";
import { useQueries, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { nanoModel, nanoWeights } from "../../api/sessionVerbs";
import type { CommitInfo, NanoMatrix, NanoWeights } from "../../api/types";
import { figure, fixed, percent, plural, shortHash } from "../../lib/format";
import { difference, largest } from "../../lib/matrix";
import { nameOf } from "../../lib/tree";
import { Chart, type RunCurve } from "../../ui/Chart";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { Swatch } from "../../ui/Swatch";
import table from "../../ui/Table.module.css";
import { mark, useMarked } from "../../ui/useMarked";
import { HeatKey, HeatMap } from "./HeatMap";
import classes from "./Nano.module.css";
import type { TabProps } from "./NanoPage";
import { Spectrum } from "./Spectrum";
import { useChoice } from "./useNano";
import css from "./Weights.module.css";

const BASE = "base";
/** What rows and columns of a matrix stand for. */
const AXES: Record<string, { rows: string; columns: string; does: string }> = {
  W_u: { rows: "mixed units", columns: "inputs", does: "mixes velocity, slow velocity and action" },
  B: { rows: "hidden states", columns: "mixed units", does: "writes the mix into the hidden state" },
  W_o: { rows: "outputs", columns: "hidden states", does: "reads the change of position and velocity out of it" },
};

/** The plastic matrices at a commit, beside those of another one. */
export default function Weights({ view }: TabProps) {
  const { session, at, line } = view;
  const [search, put] = useChoice();
  const wanted = search.get("against");
  const commit = view.log.find((entry) => entry.commit === wanted)?.commit ?? null;
  const { data, error, isPending, refetch } = useQuery(nanoWeights(session.session_id, at.commit, commit));
  const base = wanted === BASE || (data !== undefined && data.against === null);
  const parent = view.log.find((entry) => entry.commit === at.parent);
  const choices = [
    ...(parent ? [{ value: "", label: `its parent, ${nameOf(parent)}` }] : []),
    { value: BASE, label: "the base model" },
    ...line.filter((entry) => entry !== at && entry !== parent).map((entry) => ({ value: entry.commit, label: `${nameOf(entry)} (${shortHash(entry.commit)})` })),
  ];
  const chosen = base ? BASE : commit && commit !== parent?.commit ? commit : "";
  const other = view.log.find((entry) => entry.commit === data?.against);
  const name = base ? "the base model" : other ? nameOf(other) : shortHash(data?.against ?? "");
  return (
    <>
      <div className={css.head}>
        <Select
          label="Compare with"
          className={css.against}
          data={choices}
          value={chosen}
          onChange={(next) => put({ against: next || null })}
        />
        <HeatKey />
      </div>
      <Problem error={error} onRetry={() => void refetch()} />
      {isPending && <p className={page.wait}>Reading the weights …</p>}
      {data && (
        <div className={css.matrices} data-weights={data.commit} data-against={base ? BASE : data.against}>
          {data.matrices.map((matrix) => (
            <Panel key={matrix.name} matrix={matrix} here={nameOf(at)} base={base} name={name} />
          ))}
          <Frozen id={session.session_id} at={at.commit} />
        </div>
      )}
      <Moves line={line} id={session.session_id} />
    </>
  );
}

function Panel({ matrix, here, base, name }: { matrix: NanoMatrix; here: string; base: boolean; name: string }) {
  const other = base ? matrix.base : (matrix.against ?? matrix.base);
  const change = useMemo(() => difference(matrix.values, other), [matrix, other]);
  const axes = AXES[matrix.name] ?? { rows: "rows", columns: "columns", does: "" };
  const [rows, columns] = matrix.shape;
  const rank = Math.min(rows, columns);
  return (
    <section className={css.panel} aria-label={matrix.name} data-matrix={matrix.name}>
      <div className={css.title}>
        <h2 className="mono">{matrix.name}</h2>
        <span>
          {rows} × {columns}, {axes.does}
        </span>
      </div>
      <div className={css.maps} data-wide={columns > rows || undefined}>
        <HeatMap title={`At ${here}`} {...axes} matrix={matrix.values} most={largest(matrix.values)} />
        {largest(change) > 0 ? (
          <HeatMap title="Change" {...axes} matrix={change} signed />
        ) : (
          <p className={css.same} data-same>
            <b>Change</b> none: every entry is that of {name}.
          </p>
        )}
      </div>
      <div className={table.scroll} tabIndex={0} role="region" aria-label={`Drift of ${matrix.name}`}>
        <table className={table.table}>
          <thead>
            <tr>
              <th scope="col">Drift from</th>
              <th scope="col" className={table.right}>L2</th>
              <th scope="col" className={table.right}>Max</th>
              <th scope="col" className={table.right}>Mean</th>
              <th scope="col" className={table.right}>Relative</th>
            </tr>
          </thead>
          <tbody>
            {matrix.from_against && !base && <Drift name={name} of={matrix.from_against} />}
            <Drift name="the base model" of={matrix.from_base} />
          </tbody>
        </table>
      </div>
      <Spectrum matrix={matrix} rank={rank} />
    </section>
  );
}

/** What no rule writes to; it is the same in every commit. */
function Frozen({ id, at }: { id: string; at: string }) {
  const { data, error } = useQuery(nanoModel(id, at));
  if (error) return <Problem error={error} />;
  if (!data) return null;
  return (
    <section className={css.panel} aria-label="a_raw" data-matrix="a_raw">
      <div className={css.title}>
        <h2 className="mono">a_raw</h2>
        <span>{data.a_raw.length}, frozen: how fast each hidden state forgets</span>
      </div>
      <div className={css.maps} data-wide>
        <HeatMap title="In every commit" rows="row" columns="hidden states" matrix={[data.a_raw]} signed />
        <HeatMap title="Decay a that it makes" rows="row" columns="hidden states" matrix={[data.decays]} most={1} />
      </div>
      <p className={css.frozen}>
        No write changes it, so a stays between 0 and 1: {fixed(data.decays[0], 4)} for the state that forgets first, {fixed(data.decays.at(-1), 4)} for
        the one that remembers longest.
      </p>
    </section>
  );
}

function Drift({ name, of }: { name: string; of: NanoMatrix["from_base"] }) {
  return (
    <tr data-drift={name}>
      <th scope="row">{name}</th>
      <td className={table.right}>{figure(of.l2)}</td>
      <td className={table.right}>{figure(of.max)}</td>
      <td className={table.right}>{figure(of.mean)}</td>
      <td className={table.right}>{percent(of.relative, 2)}</td>
    </tr>
  );
}

const MOST = 24;
const SLOTS: Record<string, number> = { W_u: 1, B: 2, W_o: 0 };

/** How far each matrix stands from the base model, commit after commit. */
function Moves({ line, id }: { line: readonly CommitInfo[]; id: string }) {
  const shown = useMemo(() => line.slice(-MOST), [line]);
  const found = useQueries({
    queries: shown.map((commit) => nanoWeights(id, commit.commit, null)),
    combine: (results) => results.map((result): NanoWeights | undefined => result.data),
  });
  const marked = useMarked();
  const first = line.length - shown.length;
  const curves = useMemo(
    () =>
      Object.entries(SLOTS).map(
        ([name, slot]): RunCurve => ({
          id: name,
          slot,
          x: shown.map((_, i) => first + i),
          y: found.map((weights) => weights?.matrices.find((matrix) => matrix.name === name)?.from_base.l2 ?? null),
        }),
      ),
    [shown, found, first],
  );
  const bands = useMemo(
    () => shown.map((commit, i) => ({ name: nameOf(commit), from: first + i - 0.5, to: first + i + 0.5, on: commit.commit === marked })).filter((band) => band.on),
    [shown, first, marked],
  );
  if (shown.length < 2) return null;
  return (
    <section className={classes.curves} aria-label="Distance from the base model">
      <div className={classes.legend}>
        {curves.map((curve) => (
          <span key={curve.id}>
            <Swatch slot={curve.slot} /> <span className="mono">{curve.id}</span>
          </span>
        ))}
      </div>
      <Chart
        title="Distance from the base model"
        unit={first > 0 ? `L2, the last ${plural(shown.length, "commit")}` : "L2"}
        xLabel="commit"
        curves={curves}
        format={(value) => figure(value)}
        sync="nano-moves"
        sparse
        height={170}
        bands={bands}
        tell={(x) => (line[x] ? nameOf(line[x]) : null)}
        onPoint={(x) => mark(x === null ? null : (line[x]?.commit ?? null))}
      />
    </section>
  );
}
