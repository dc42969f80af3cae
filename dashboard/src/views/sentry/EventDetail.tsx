import type { MonitorEvent } from "../../api/types";
import { figure, fixed, percent, signed } from "../../lib/format";
import { ChunkDetail } from "../../ui/ChunkDetail";
import classes from "./EventLog.module.css";

/** What the monitor adds to the guard's event, and then the event itself. */
export function EventDetail({ event }: { event: MonitorEvent }) {
  const figures: [string, string][] = [
    ["Attempted update", figure(event.attempted_update_norm)],
    ["Written", event.update_skipped ? "0, skipped" : figure(event.update_norm)],
    ["Removed by SPFW", percent(event.projected_fraction)],
    ["Gradient z", signed(event.grad_z, 1)],
    ["Update z", signed(event.update_z, 1)],
    ["Canary rise z", signed(event.canary_delta_z, 1)],
    ["Canary loss, mean", `${fixed(event.canary_loss_before)} → ${fixed(event.canary_loss_after)}`],
    ["Canary gradient", figure(event.canary_grad_norm)],
    ["Dot with it", signed(event.grad_canary_dot, 4)],
    ["Token entropy", event.token_entropy === null ? fixed(null) : `${fixed(event.token_entropy, 2)} bits`],
    ["Distinct tokens", percent(event.token_diversity)],
    ["Compression", fixed(event.compression_ratio)],
  ];
  return (
    <div className={classes.all}>
      <p className={classes.full}>{event.chunk_preview}</p>
      <dl className={classes.figures}>
        {figures.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {event.top_influence_tokens.length > 0 && (
        <p className={classes.top}>
          <span>Most influential tokens</span>
          {event.top_influence_tokens.map(([token, value], i) => (
            <span key={`${i} ${token}`}>
              <code>{token}</code> {figure(value)}
            </span>
          ))}
        </p>
      )}
      <ChunkDetail event={event} />
    </div>
  );
}
