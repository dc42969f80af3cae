import { Button, SegmentedControl } from "@mantine/core";
import { Fragment, type ReactNode, useEffect, useRef, useState } from "react";
import type { MonitorEvent } from "../../api/types";
import { figure, fixed, signed, whole } from "../../lib/format";
import { type Filter, filtered, told } from "../../lib/monitor";
import { Empty } from "../../ui/Empty";
import { Chevron } from "../../ui/icons";
import { DecisionMark, FlagMark } from "../../ui/Status";
import { EventDetail } from "./EventDetail";
import classes from "./EventLog.module.css";

/** Rows in the document at a time, so that a book is as quick as a page. */
const ROWS = 50;

/** What the monitor calls the position that holds no token of the chunk; it is told with all figures. */
const BEFORE = "(before the chunk)";

interface Props {
  events: MonitorEvent[];
  live: boolean;
  /** A chunk to open, and how often it was asked for. */
  asked: { chunk: number; nth: number } | null;
  /** In place of the title, where there is more than one run to look at. */
  title?: ReactNode;
}

/** One row a chunk: what was decided, on which text, for what reason; a row opens all its figures. */
export function EventLog({ events, live, asked, title }: Props) {
  const [filter, setFilter] = useState<Filter>("all");
  const [picked, setPage] = useState<number | null>(null);
  const [open, setOpen] = useState<number | null>(null);
  const body = useRef<HTMLTableSectionElement>(null);
  const wanted = useRef<number | null>(null);
  const shown = filtered(events, filter);
  const pages = Math.max(1, Math.ceil(shown.length / ROWS));
  const page = Math.min(picked ?? (live ? pages - 1 : 0), pages - 1);
  const rows = shown.slice(page * ROWS, (page + 1) * ROWS);
  const influence = events.some((event) => event.top_influence_tokens.length > 0);

  useEffect(() => {
    if (!asked) return;
    const at = events.findIndex((event) => event.chunk_index === asked.chunk);
    if (at < 0) return;
    setFilter("all");
    setPage(Math.floor(at / ROWS));
    setOpen(asked.chunk);
    wanted.current = asked.chunk;
  }, [asked]);
  useEffect(() => {
    if (wanted.current === null) return;
    const row = body.current?.querySelector(`[data-chunk="${wanted.current}"]`);
    if (!row) return; // its page is not drawn yet
    wanted.current = null;
    row.scrollIntoView({ block: "center" });
  });

  const n = (of: Filter) => whole(filtered(events, of).length);
  return (
    <section aria-label="Chunks" className={classes.log}>
      <div className={classes.head}>
        <h2>Chunks</h2>
        {title}
        <div className={classes.filter}>
          <SegmentedControl
            aria-label="Which chunks"
            value={filter}
            onChange={(next) => {
              setFilter(next as Filter);
              setPage(null);
            }}
            data={[
              { value: "all", label: `All ${n("all")}` },
              { value: "blocked", label: `Blocked ${n("blocked")}` },
              { value: "rolled_back", label: `Rolled back ${n("rolled_back")}` },
              { value: "flagged", label: `Flagged ${n("flagged")}` },
            ]}
          />
        </div>
        {pages > 1 && (
          <div className={classes.pager}>
            <Button variant="default" size="compact-sm" disabled={page === 0} onClick={() => setPage(page - 1)}>
              Earlier
            </Button>
            <span className="num">
              {whole(page + 1)} of {whole(pages)}
            </span>
            <Button variant="default" size="compact-sm" disabled={page === pages - 1} onClick={() => setPage(page + 1)}>
              Later
            </Button>
          </div>
        )}
      </div>
      {rows.length === 0 ? (
        <Empty title={events.length ? "No such chunk" : "No chunk yet"}>
          {events.length ? "Nothing in this run was decided that way." : "The first one shows as soon as it is judged."}
        </Empty>
      ) : (
        <div className={classes.scroll} tabIndex={0} role="region" aria-label="Table of chunks">
          <table className={classes.table}>
            <thead>
              <tr>
                <th scope="col">Chunk</th>
                <th scope="col">Decision</th>
                <th scope="col" className={classes.wide}>Text and reasons</th>
                {influence && <th scope="col">Top tokens</th>}
                <th scope="col" data-num>Loss</th>
                <th scope="col" data-num>Gradient</th>
                <th scope="col" data-num>Written</th>
                <th scope="col" data-num>Canary rise</th>
              </tr>
            </thead>
            <tbody ref={body}>
              {rows.map((event) => (
                <Row
                  key={event.chunk_index}
                  event={event}
                  influence={influence}
                  shown={open === event.chunk_index}
                  onToggle={() => setOpen(open === event.chunk_index ? null : event.chunk_index)}
                />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Row({ event, influence, shown, onToggle }: { event: MonitorEvent; influence: boolean; shown: boolean; onToggle: () => void }) {
  const { refusals, notes } = told(event);
  return (
    <Fragment>
      <tr data-chunk={event.chunk_index} data-event={event.decision}>
        <th scope="row">
          <button type="button" aria-expanded={shown} aria-label={`All figures of chunk ${event.chunk_index}`} onClick={onToggle}>
            <Chevron size={12} />
            {event.chunk_index}
          </button>
        </th>
        <td className={classes.marks}>
          <DecisionMark decision={event.decision} />
          {event.flagged && <FlagMark />}
        </td>
        <td className={classes.wide}>
          <span className={classes.preview} title={event.chunk_preview}>
            {event.chunk_preview}
          </span>
          {refusals.length > 0 && (
            <ul className={classes.reasons} data-decision={event.decision}>
              {refusals.map((reason) => (
                <li key={reason}>{reason}</li>
              ))}
            </ul>
          )}
          {notes.length > 0 && <span className={classes.notes}>{notes.join("; ")}</span>}
        </td>
        {influence && (
          <td className={classes.tokens}>
            {event.top_influence_tokens.filter(([token]) => token !== BEFORE).slice(0, 3).map(([token, value], i) => (
              <span key={`${i} ${token}`} title={`influence ${figure(value)}`}>
                {token}
              </span>
            ))}
          </td>
        )}
        <td data-num>{fixed(event.loss)}</td>
        <td data-num>{figure(event.grad_norm)}</td>
        <td data-num>{figure(event.update_norm)}</td>
        <td data-num>{signed(event.canary_delta, 4)}</td>
      </tr>
      {shown && (
        <tr className={classes.detail}>
          <td colSpan={influence ? 8 : 7}>
            <EventDetail event={event} />
          </td>
        </tr>
      )}
    </Fragment>
  );
}
