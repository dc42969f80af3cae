import { type ComponentProps, useMemo } from "react";
import { figure, plural } from "../../lib/format";
import type { Looked, Rate } from "../../lib/meta";
import { SLOTS } from "../../lib/runs";
import { Chart, type RunCurve } from "../../ui/Chart";
import { Swatch } from "../../ui/Swatch";
import table from "../../ui/Table.module.css";
import classes from "./Meta.module.css";

interface Props {
  rates: Rate[];
  shown: Looked;
  chart: Omit<ComponentProps<typeof Chart>, "title" | "unit" | "curves" | "format">;
}

/** The rate at which each tensor learns within a sequence, as the outer loop set it: those that moved most drawn, all listed. */
export function Rates({ rates, shown, chart }: Props) {
  const curves = useMemo(() => rates.slice(0, SLOTS).map((rate, slot): RunCurve => ({ id: rate.short, slot, label: rate.short, x: rate.x, y: rate.y })), [rates]);
  return (
    <>
      <Chart {...chart} title="Learned inner rates" unit="of each tensor" curves={curves} format={(value) => figure(value)} />
      <div className={table.scroll} tabIndex={0} role="region" aria-label="Inner rates" style={{ maxHeight: 268, overflowY: "auto" }}>
        <table className={table.table}>
          <thead>
            <tr>
              <th scope="col">{plural(rates.length, "tensor")} with a rate</th>
              <th scope="col" className={table.right}>At first</th>
              <th scope="col" className={table.right}>At step {shown.step}</th>
              <th scope="col" className={table.right}>Factor</th>
            </tr>
          </thead>
          <tbody>
            {rates.map((rate, i) => {
              const now = shown.inner_rates?.[rate.tensor] ?? null;
              return (
                <tr key={rate.tensor} data-rate={rate.tensor}>
                  <th scope="row">
                    <span className={table.show}>
                      {i < SLOTS && <Swatch slot={i} />}
                      <span className={classes.tensor} title={rate.tensor}>
                        {rate.short}
                      </span>
                    </span>
                  </th>
                  <td className={table.right}>{figure(rate.first)}</td>
                  <td className={table.right}>{figure(now)}</td>
                  <td className={table.right}>{now === null ? "–" : `× ${figure(now / rate.first)}`}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </>
  );
}
