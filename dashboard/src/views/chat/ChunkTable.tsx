import { Fragment, useState } from "react";
import type { ChunkEvent } from "../../api/types";
import { figure, fixed, percent, signed } from "../../lib/format";
import { ChunkDetail } from "../../ui/ChunkDetail";
import { Chevron } from "../../ui/icons";
import { DecisionMark } from "../../ui/Status";
import classes from "./ChunkTable.module.css";

/** Every chunk of a turn with all figures of its event; a row opens its canaries and checks. */
export function ChunkTable({ events }: { events: ChunkEvent[] }) {
  const [open, setOpen] = useState<number | null>(null);
  return (
    <div className={classes.scroll} tabIndex={0} role="region" aria-label="Chunks">
      <table className={classes.table}>
        <thead>
          <tr>
            <th scope="col">Chunk</th>
            <th scope="col">Text</th>
            <th scope="col">Decision</th>
            <th scope="col" data-num>Loss</th>
            <th scope="col" data-num>After</th>
            <th scope="col" data-num>Gradient</th>
            <th scope="col" data-num>Attempted</th>
            <th scope="col" data-num>Written</th>
            <th scope="col" data-num>SPFW</th>
            <th scope="col" data-num>Canary rise</th>
            <th scope="col" data-num>z</th>
            <th scope="col" data-num>Drift</th>
          </tr>
        </thead>
        <tbody>
          {events.map((event) => {
            const shown = open === event.chunk_index;
            return (
              <Fragment key={event.chunk_index}>
                <tr data-event={event.decision}>
                  <th scope="row">
                    <button
                      type="button"
                      aria-expanded={shown}
                      aria-label={`Canaries and checks of chunk ${event.chunk_index}`}
                      onClick={() => setOpen(shown ? null : event.chunk_index)}
                    >
                      <Chevron size={12} />
                      {event.chunk_index}
                    </button>
                  </th>
                  <td className={classes.preview} title={event.chunk_preview}>
                    {event.chunk_preview}
                  </td>
                  <td>
                    <DecisionMark decision={event.decision} />
                  </td>
                  <td data-num>{fixed(event.loss)}</td>
                  <td data-num>{fixed(event.loss_after)}</td>
                  <td data-num>{figure(event.grad_norm)}</td>
                  <td data-num>{figure(event.attempted_update_norm)}</td>
                  <td data-num>{figure(event.update_norm)}</td>
                  <td data-num>{percent(event.projected_fraction)}</td>
                  <td data-num>{signed(event.canary_delta, 4)}</td>
                  <td data-num>{signed(event.canary_delta_z, 1)}</td>
                  <td data-num>{signed(event.drift)}</td>
                </tr>
                {shown && (
                  <tr className={classes.detail}>
                    <td colSpan={12}>
                      <ChunkDetail event={event} />
                    </td>
                  </tr>
                )}
              </Fragment>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
