import type { ReactNode } from "react";
import classes from "./Redteam.module.css";

interface Tick {
  at: number;
  text: string;
}

interface Props {
  title: string;
  /** The whole figure in words. */
  label: string;
  reading: string;
  x: Tick[];
  /** Dots at places 0 to 1 of both axes. */
  dots?: { x: number; y: number; kind: "attack" | "control" }[];
  square?: boolean;
  children: ReactNode;
}

const SHARES: Tick[] = [
  { at: 0, text: "0" },
  { at: 0.5, text: "50 %" },
  { at: 1, text: "100 %" },
];

/** A small plot of shares: children are drawn in a box of 100 by 100 whose origin is the lower left. */
export function Plot({ title, label, reading, x, dots = [], square = false, children }: Props) {
  return (
    <figure className={classes.plot} aria-label={label} data-plot={title}>
      <figcaption>
        <b>{title}</b>
        <span>{reading}</span>
      </figcaption>
      <div className={classes.frame} data-square={square || undefined} aria-hidden="true">
        {SHARES.map((tick) => (
          <span key={tick.text} className={classes.y} style={{ bottom: `${100 * tick.at}%` }}>
            {tick.text}
          </span>
        ))}
        <svg viewBox="0 0 100 100" preserveAspectRatio="none">
          <g transform="matrix(1 0 0 -1 0 100)">
            {SHARES.map((tick) => (
              <path key={tick.text} className={classes.grid} d={`M0 ${100 * tick.at}H100`} />
            ))}
            {children}
          </g>
        </svg>
        {dots.map((dot, i) => (
          <i key={i} className={classes.dot} data-kind={dot.kind} style={{ left: `${100 * dot.x}%`, bottom: `${100 * dot.y}%` }} />
        ))}
        {x.map((tick) => (
          <span key={tick.text} className={classes.x} style={{ left: `${100 * tick.at}%` }}>
            {tick.text}
          </span>
        ))}
      </div>
    </figure>
  );
}

export const path = (points: readonly (readonly [number, number])[]): string =>
  points.map(([x, y], i) => `${i ? "L" : "M"}${(100 * x).toFixed(2)} ${(100 * y).toFixed(2)}`).join("");
