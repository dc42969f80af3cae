import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { sessions } from "../../api/queries";
import { ago, plural } from "../../lib/format";
import { Fork, Plus } from "../../ui/icons";
import { Problem } from "../../ui/Problem";
import { useNow } from "../../ui/useNow";
import classes from "./SessionList.module.css";

export function SessionList({ current, onChosen }: { current: string | null; onChosen: () => void }) {
  const { data, error, refetch } = useQuery(sessions);
  const now = useNow(30_000);
  const list = [...(data ?? [])].sort((a, b) => b.updated_at.localeCompare(a.updated_at));
  return (
    <div className={classes.list}>
      <Button component={Link} href="/chat" variant="default" leftSection={<Plus />} onClick={onChosen} fullWidth>
        New session
      </Button>
      <Problem error={error} onRetry={() => void refetch()} />
      <ul>
        {list.map((entry) => (
          <li key={entry.session_id}>
            <Link
              href={`/chat/${entry.session_id}`}
              onClick={onChosen}
              aria-current={entry.session_id === current ? "page" : undefined}
            >
              <span className={classes.title}>
                {entry.forked_from && <Fork size={13} />}
                <span>{entry.title || entry.session_id}</span>
              </span>
              <span className={classes.facts}>
                <span>{entry.model}</span>
                <span>{plural(entry.n_turns, "turn")}</span>
                <span>{ago(entry.updated_at, now)}</span>
              </span>
            </Link>
          </li>
        ))}
      </ul>
      {data?.length === 0 && <p className="label">Sessions that you start are listed here, newest first.</p>}
    </div>
  );
}
