import { useQuery } from "@tanstack/react-query";
import { nanoModel } from "../../api/sessionVerbs";
import type { NanoModelInfo } from "../../api/types";
import { figure, percent, plural, shortHash, whole } from "../../lib/format";
import { nameOf } from "../../lib/tree";
import { Chart } from "../../ui/Chart";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import table from "../../ui/Table.module.css";
import css from "./Architecture.module.css";
import { Diagram } from "./Diagram";
import type { TabProps } from "./NanoPage";

/** What the model is made of, as it describes itself. */
export default function Architecture({ view }: TabProps) {
  const { session, at } = view;
  const { data, error, isPending, refetch } = useQuery(nanoModel(session.session_id, at.commit));
  if (error) return <Problem error={error} onRetry={() => void refetch()} />;
  if (isPending) return <p className={page.wait}>Reading the model …</p>;
  return (
    <div className={css.page} data-model={data.commit}>
      <Diagram model={data} />
      <div className={css.row}>
        <Parameters model={data} />
        <Decays model={data} />
      </div>
      <section className={css.equations} aria-label="Equations">
        <h2>Equations</h2>
        {data.equations.map((equation) => (
          <code key={equation}>{equation}</code>
        ))}
        <p>
          The {data.mode} base <code title={data.base_sha256}>{shortHash(data.base_sha256)}</code>, with the weights of {nameOf(at)}. Inputs are scaled:
          velocity by {figure(data.config.vel_scale)}, action by {figure(data.config.action_scale)}, and the velocity of a slow body (below about{" "}
          {figure(data.config.slow_speed)} a step) by {figure(data.config.slow_scale)}. The decay a lies between 0 and 1 whatever is learned, so the
          recurrence is stable.
        </p>
      </section>
    </div>
  );
}

function Parameters({ model }: { model: NanoModelInfo }) {
  const all = model.plastic_count + model.frozen_count;
  const most = Math.max(...model.parameters.map((parameter) => parameter.count));
  return (
    <section className={css.parameters} aria-label="Parameters">
      <h2>
        {plural(all, "parameter")}: {whole(model.plastic_count)} plastic, {whole(model.frozen_count)} frozen
      </h2>
      <div className={table.scroll} tabIndex={0} role="region" aria-label="Table of parameters">
        <table className={table.table}>
          <thead>
            <tr>
              <th scope="col">Tensor</th>
              <th scope="col">Shape</th>
              <th scope="col">Numbers in it</th>
              <th scope="col" className={table.right}>Norm (L2)</th>
              <th scope="col">Written by</th>
            </tr>
          </thead>
          <tbody>
            {model.parameters.map((parameter) => (
              <tr key={parameter.name} data-parameter={parameter.name} data-plastic={parameter.plastic}>
                <th scope="row">
                  <span className="mono">{parameter.name}</span>
                  <small className={css.role}>{parameter.role}</small>
                </th>
                <td className="num">{shape(parameter.shape)}</td>
                <td>
                  <span className={css.count}>
                    <i aria-hidden="true" data-frozen={!parameter.plastic || undefined} style={{ width: `${(100 * parameter.count) / most}%` }} />
                    <span className="num">
                      {whole(parameter.count)} <small>{percent(parameter.count / all)}</small>
                    </span>
                  </span>
                </td>
                <td className={table.right}>{figure(parameter.norm)}</td>
                <td>
                  {parameter.plastic ? (
                    <span data-by={parameter.written_by.includes(model.rule) || undefined}>{parameter.written_by.join(", ")}</span>
                  ) : (
                    <span className="muted">nothing: frozen</span>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p className={css.note}>
        This session learns with <b>{model.rule}</b>, which writes{" "}
        {model.parameters
          .filter((parameter) => parameter.written_by.includes(model.rule))
          .map((parameter) => parameter.name)
          .join(", ")}
        .
      </p>
    </section>
  );
}

/** A batch of one is no part of the model. */
const shape = (sizes: readonly number[]): string => (sizes.length > 2 ? sizes.slice(1) : sizes).join(" × ");

function Decays({ model }: { model: NanoModelInfo }) {
  const curves = [{ id: "memory", slot: 0, x: model.memory_steps.map((_, i) => i), y: model.memory_steps }];
  return (
    <section className={css.decays} aria-label="Memory">
      <Chart
        title="Memory of each hidden state"
        unit="steps until 1/e is left"
        xLabel="state"
        curves={curves}
        format={(value) => figure(value)}
        sync="nano-decays"
        height={216}
        log
        sparse
        tell={(x) => `a = ${figure(model.decays[x])}, memory ${figure(model.memory_steps[x])} steps`}
      />
      <p className={css.note}>
        The frozen <span className="mono">a_raw</span> spreads them from {figure(model.memory_steps[0])} to {figure(model.memory_steps.at(-1))} steps: a state forgets by the
        factor a each step.
      </p>
    </section>
  );
}
