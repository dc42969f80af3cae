import { ActionIcon, Drawer, Tooltip } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { sessionLog } from "../../api/queries";
import type { CommitInfo } from "../../api/types";
import { ago, clock, shortHash, signed } from "../../lib/format";
import { Fork } from "../../ui/icons";
import { Problem } from "../../ui/Problem";
import { DecisionMark } from "../../ui/Status";
import { ForkDialog } from "../../ui/ForkDialog";
import classes from "./LogDrawer.module.css";

const KIND: Record<CommitInfo["kind"], string> = { init: "Start", turn: "Turn", run: "Run", reset: "Reset", fork: "Fork", revert: "Revert" };

/** Every commit of a session, newest first; each can be forked from. */
export function LogDrawer({ sessionId, opened, onClose }: { sessionId: string; opened: boolean; onClose: () => void }) {
  const { data, error, refetch } = useQuery({ ...sessionLog(sessionId), enabled: opened });
  const [at, setAt] = useState<CommitInfo | null>(null);
  return (
    <Drawer opened={opened} onClose={onClose} position="right" size={440} title="Session log" closeButtonProps={{ "aria-label": "Close" }}>
      <Problem error={error} onRetry={() => void refetch()} />
      <ol className={classes.log}>
        {data?.map((commit) => (
          <li key={commit.commit} data-kind={commit.kind}>
            <div className={classes.head}>
              <b>{commit.kind === "turn" ? `Turn ${commit.turn}` : KIND[commit.kind]}</b>
              <code title={commit.commit}>{shortHash(commit.commit)}</code>
              {commit.tags.map((tag) => (
                <b key={tag}>{tag}</b>
              ))}
              <span title={clock(commit.created_at)}>{ago(commit.created_at, Date.now())}</span>
              <Tooltip label="Fork the session from this commit">
                <ActionIcon size="sm" aria-label={`Fork from ${shortHash(commit.commit)}`} onClick={() => setAt(commit)}>
                  <Fork size={14} />
                </ActionIcon>
              </Tooltip>
            </div>
            {commit.summary && <p>{commit.summary}</p>}
            {commit.kind === "turn" && (
              <div className={classes.counts}>
                <DecisionMark decision="committed" count={commit.committed} />
                {commit.blocked > 0 && <DecisionMark decision="blocked" count={commit.blocked} />}
                {commit.rolled_back > 0 && <DecisionMark decision="rolled_back" count={commit.rolled_back} />}
                <span className="muted">drift {signed(commit.drift)}</span>
              </div>
            )}
          </li>
        ))}
      </ol>
      {at && (
        <ForkDialog
          sessionId={sessionId}
          at={at.commit}
          from={`commit ${shortHash(at.commit)}`}
          onClose={() => {
            setAt(null);
            onClose();
          }}
        />
      )}
    </Drawer>
  );
}
