import { Button, Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, Redirect, useLocation, useRoute } from "wouter";
import { sessions } from "../../api/queries";
import type { SessionInfo } from "../../api/types";
import { plural } from "../../lib/format";
import { Empty } from "../../ui/Empty";
import { Talk } from "../../ui/icons";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { FOCUS_TARGET } from "../../lib/keys";
import { useTitle } from "../../ui/useTitle";
import classes from "./Memory.module.css";
import { MeterSection } from "./MeterSection";
import { RecallSection } from "./RecallSection";

/** What the fast weights of one session are worth: gained bits, and what it still knows of a fact. Both follow the session's head. */
export default function MemoryPage() {
  const [, params] = useRoute("/memory/:id");
  const id = params?.id ?? null;
  useTitle(id ? `Memory of ${id}` : "Memory");
  const { data, error, refetch } = useQuery(sessions);
  const [, navigate] = useLocation();
  const first = data?.find((entry) => entry.n_turns > 0) ?? data?.[0];
  if (!id && first) return <Redirect to={`/memory/${first.session_id}`} replace />;
  const session = data?.find((entry) => entry.session_id === id);
  return (
    <div className={page.single}>
      <div className={page.top}>
        <h1>Memory</h1>
        {data && data.length > 0 && (
          <Select
            {...FOCUS_TARGET}
            className={classes.session}
            aria-label="Session"
            placeholder="Choose a session"
            searchable
            limit={50}
            data={data.map((entry) => ({ value: entry.session_id, label: entry.session_id }))}
            value={session?.session_id ?? null}
            onChange={(next) => next && navigate(`/memory/${next}`)}
          />
        )}
        {session && (
          <p className={page.about}>
            {session.model} · {plural(session.n_turns, "turn")}
          </p>
        )}
        {session && (
          <span className={page.tools}>
            <Button component={Link} href={`/chat/${session.session_id}`} variant="default" size="xs" leftSection={<Talk size={14} />}>
              Chat
            </Button>
          </span>
        )}
      </div>
      <Problem error={error} onRetry={() => void refetch()} />
      {session && <One key={session.session_id} session={session} />}
      {data && !session && (
        <div className="panel">
          {id ? (
            <Empty title={`There is no session ${id}`}>Choose one of the sessions above.</Empty>
          ) : (
            <Empty title="No session yet" action={<Button component={Link} href="/chat">New session</Button>}>
              A session learns from what it reads. Talk to a model in Chat, and see here what learning gained on it.
            </Empty>
          )}
        </div>
      )}
    </div>
  );
}

function One({ session }: { session: SessionInfo }) {
  if (session.n_turns === 0) {
    return (
      <div className="panel">
        <Empty title="Nothing read yet" action={<Button component={Link} href={`/chat/${session.session_id}`}>Send a passage</Button>}>
          The meter scores each chunk of what the session reads before it is learned, beside the model that learns nothing.
        </Empty>
      </div>
    );
  }
  return (
    <>
      <MeterSection id={session.session_id} head={session.head} />
      <RecallSection id={session.session_id} head={session.head} />
    </>
  );
}
