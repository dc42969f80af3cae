import { useState } from "react";
import type { NanoMatrix } from "../../api/types";
import { figure, fixed } from "../../lib/format";
import css from "./Weights.module.css";

/** The singular values as bars, the largest first, and how many of them matter. */
export function Spectrum({ matrix, rank }: { matrix: NanoMatrix; rank: number }) {
  const [at, setAt] = useState<number | null>(null);
  const values = matrix.singular_values;
  const most = Math.max(values[0] ?? 0, Number.MIN_VALUE);
  return (
    <figure
      className={css.spectrum}
      data-spectrum={values.length}
      aria-label={`Singular values of ${matrix.name}: ${values.map((value) => figure(value)).join(", ")}; effective rank ${fixed(matrix.effective_rank, 2)} of ${rank}`}
    >
      <figcaption>
        <b>Singular values</b>
        <span>{at === null ? `norm ${figure(matrix.norm)}` : `σ${at + 1} = ${figure(values[at])}`}</span>
        <span className={css.rank}>
          effective rank <b>{fixed(matrix.effective_rank, 2)}</b> of {rank}
        </span>
      </figcaption>
      <div className={css.bars} aria-hidden="true" onPointerLeave={() => setAt(null)}>
        {values.map((value, i) => (
          <span key={i} onPointerEnter={() => setAt(i)} data-on={at === i || undefined}>
            <i style={{ height: `${(100 * value) / most}%` }} />
            <small>{i + 1}</small>
          </span>
        ))}
      </div>
    </figure>
  );
}
