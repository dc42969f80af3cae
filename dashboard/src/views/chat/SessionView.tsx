import { useQuery } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import { session, sessionLog, sessions } from "../../api/queries";
import type { Turn } from "../../api/types";
import { clock, plural } from "../../lib/format";
import { inOrder, type Probe, probeOf } from "../../lib/past";
import { startOf } from "../../lib/transcript";
import { Empty } from "../../ui/Empty";
import { Problem } from "../../ui/Problem";
import { Composer } from "./Composer";
import { examples } from "./examples";
import { ForgottenCard } from "./ForgottenCard";
import { isAnswering, stop, useLive } from "./live";
import { LiveCard } from "./LiveCard";
import { PastDrawer } from "./PastDrawer";
import { SessionHeader } from "./SessionHeader";
import { SessionTrend } from "./SessionTrend";
import classes from "./SessionView.module.css";
import { AsideCard, TurnCard } from "./TurnCard";

const NONE: Turn[] = [];

/** One session: what it is, every turn so far, and the field for the next. */
export function SessionView({ id, onOpenList }: { id: string; onOpenList?: () => void }) {
  const { data, error, refetch } = useQuery(session(id));
  const log = useQuery(sessionLog(id));
  const { live, failure, asides } = useLive(id);
  const [message, setMessage] = useState("");
  const scroller = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const turns = data?.turns ?? NONE;
  const reverted = data?.reverted ?? NONE;
  const [asked, setAsked] = useState<Probe | null>(null);
  const onBlame = useCallback((turn: Turn) => setAsked(probeOf(turn)), []);
  const start = startOf(log.data ?? []);

  // Another window or the terminal may have talked to this session: the list tells.
  const listed = useQuery(sessions).data?.find((entry) => entry.session_id === id)?.head;
  useEffect(() => {
    if (listed && data && listed !== data.head && !isAnswering(id)) void refetch();
  }, [listed]);

  useEffect(() => {
    const box = scroller.current;
    if (box && atEnd.current) box.scrollTop = box.scrollHeight;
  }, [live, failure, turns.length, asides.length]);

  useEffect(() => {
    if (!live) return;
    atEnd.current = true;
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector('[role="dialog"]')) stop(id);
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [id, live !== null]);

  return (
    <div className={classes.view} data-past={asked ? true : undefined}>
      <SessionHeader id={id} session={data} onOpenList={onOpenList} onBlame={() => setAsked({ probe: "", answer: null })} />
      {turns.length > 1 && <SessionTrend turns={turns} />}
      <div
        ref={scroller}
        className={classes.scroll}
        tabIndex={0}
        role="region"
        aria-label="Turns"
        onScroll={(event) => {
          const box = event.currentTarget;
          atEnd.current = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
        }}
      >
        <div className={classes.turns}>
          <Problem error={error} onRetry={() => void refetch()} />
          {error && !data && (
            <p>
              <Link href="/chat">Start a new session</Link>, or choose one from the list.
            </p>
          )}
          {start.reset && (
            <p className={classes.mark} title={clock(start.reset.created_at)}>
              <span>
                Reset{start.earlier > 0 && `: ${plural(start.earlier, "earlier turn")} kept in the log`}
              </span>
            </p>
          )}
          {data && turns.length === 0 && reverted.length === 0 && asides.length === 0 && !live && (
            <Empty title="Nothing read yet" action={<Examples onChoose={setMessage} />}>
              Send a passage: the model reads it in chunks of {data.options.chunk_tokens} tokens, learns from each, and continues it.
              Then send the same passage again, and watch its loss before learning fall.
            </Empty>
          )}
          {inOrder(turns, reverted).map((turn) =>
            turn.reverted_by ? (
              <ForgottenCard key={turn.commit} sessionId={id} turn={turn} by={turn.reverted_by} head={data?.head ?? ""} />
            ) : (
              <TurnCard key={turn.commit} sessionId={id} turn={turn} policy={data?.options.policy} onBlame={onBlame} />
            ),
          )}
          {asides.map((turn) => (
            <AsideCard key={turn.created_at} turn={turn} />
          ))}
          {live && <LiveCard live={live} policy={data?.options.policy} />}
          {failure && <Problem error={failure.error} />}
        </div>
      </div>
      {data && <PastDrawer key={data.head} session={data} asked={asked} onClose={() => setAsked(null)} />}
      {(data || !error) && <Composer id={id} live={live} failure={failure} message={message} setMessage={setMessage} />}
    </div>
  );
}

function Examples({ onChoose }: { onChoose: (text: string) => void }) {
  return (
    <div className={classes.examples}>
      {examples.map((example) => (
        <button
          key={example.name}
          type="button"
          onClick={() => {
            onChoose(example.text);
            document.querySelector<HTMLElement>("[data-focus-target]")?.focus();
          }}
        >
          {example.name}
        </button>
      ))}
    </div>
  );
}
