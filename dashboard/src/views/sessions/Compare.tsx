import { ActionIcon } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type SessionRef, sessionDiff } from "../../api/sessionVerbs";
import type { CommitInfo, SessionDiff } from "../../api/types";
import { figure, fixed, plural, shortHash, whole } from "../../lib/format";
import { nameOf } from "../../lib/tree";
import { Close } from "../../ui/icons";
import { Problem } from "../../ui/Problem";
import strip from "../../ui/Strip.module.css";
import table from "../../ui/Table.module.css";
import classes from "./Sessions.module.css";

interface Side {
  of: SessionRef;
  commit: string;
}

/** What changed from one commit to another: over all fast weights, a tensor at a time, and the guard's figures. */
export function Compare({ a, b, onClose }: { a: Side; b: Side; onClose: () => void }) {
  const same = a.of.kind === b.of.kind;
  const { data, error, isPending, refetch } = useQuery({ ...sessionDiff(a.of, a.commit, b.of, b.commit), enabled: same });
  return (
    <section className={strip.strip} aria-label="Comparison" data-diff={data ? `${a.commit} ${b.commit}` : undefined}>
      <div className={strip.head}>
        <h2>{data ? `From ${name(data.a, a)} to ${name(data.b, b)}` : "Comparison"}</h2>
        <span className={strip.actions}>
          <ActionIcon aria-label="Close the comparison" onClick={onClose}>
            <Close />
          </ActionIcon>
        </span>
      </div>
      <Problem error={error} onRetry={() => void refetch()} />
      {!same && <p className={strip.note}>A text session and a Nano session have no weights in common.</p>}
      {same && isPending && <p className={strip.note}>Reading both states …</p>}
      {data && <Figures diff={data} />}
    </section>
  );
}

const name = (commit: CommitInfo, side: Side): string => `${nameOf(commit)} of ${commit.session ?? side.of.id}`;

/** A count as it is, any other value to four digits. */
const value = (number: number | null): string => (Number.isInteger(number) ? whole(number) : figure(number, 4));

function Figures({ diff }: { diff: SessionDiff }) {
  const drift = diff.numbers.find((entry) => entry.name === "drift");
  const overall: [string, string][] = [
    ["L2 of the change", figure(diff.l2)],
    ["Largest entry", figure(diff.max)],
    ["Relative change", figure(diff.relative)],
    ["Cosine", fixed(diff.cosine, 6)],
  ];
  if (drift) overall.push(["Drift", `${figure(drift.a)} → ${figure(drift.b)}`]);
  return (
    <>
      <dl className={strip.figures}>
        {overall.map(([label, value]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <p className={strip.note}>
        {diff.base === null
          ? "The two have no commit in common."
          : `They part at ${shortHash(diff.base)}; since then ${plural(diff.a_only.length, "commit")} on the first side, ${plural(diff.b_only.length, "commit")} on the second.`}
      </p>
      <div className={classes.tables}>
        <div className={`${table.scroll} ${classes.low}`} tabIndex={0} role="region" aria-label="Tensors">
          <table className={table.table}>
            <thead>
              <tr>
                <th scope="col">Tensor</th>
                <th scope="col">Part</th>
                <th scope="col">Shape</th>
                <th scope="col" className={table.right}>L2</th>
                <th scope="col" className={table.right}>Max</th>
                <th scope="col" className={table.right}>Relative</th>
                <th scope="col" className={table.right}>Cosine</th>
                <th scope="col" className={table.right}>Changed rows</th>
              </tr>
            </thead>
            <tbody>
              {diff.tensors.map((tensor) => (
                <tr key={`${tensor.part} ${tensor.name}`} data-tensor={tensor.name}>
                  <th scope="row" className="mono">{tensor.name}</th>
                  <td>{tensor.part}</td>
                  <td>{(tensor.shape_b ?? tensor.shape_a)?.join("×")}</td>
                  <td className={table.right}>{figure(tensor.l2)}</td>
                  <td className={table.right}>{figure(tensor.max)}</td>
                  <td className={table.right}>{figure(tensor.relative)}</td>
                  <td className={table.right}>{fixed(tensor.cosine, 6)}</td>
                  <td className={table.right}>{tensor.rows === null ? "–" : `${tensor.changed_rows} of ${tensor.rows}`}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        <div className={`${table.scroll} ${classes.low}`} tabIndex={0} role="region" aria-label="Figures of the guard">
          <table className={table.table}>
            <thead>
              <tr>
                <th scope="col">Figure</th>
                <th scope="col" className={table.right}>Before</th>
                <th scope="col" className={table.right}>After</th>
                <th scope="col" className={table.right}>Change</th>
              </tr>
            </thead>
            <tbody>
              {diff.numbers.map((entry) => (
                <tr key={entry.name} data-number={entry.name}>
                  <th scope="row">{entry.name}</th>
                  <td className={table.right}>{value(entry.a)}</td>
                  <td className={table.right}>{value(entry.b)}</td>
                  <td className={table.right}>{value(entry.change)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </div>
    </>
  );
}
