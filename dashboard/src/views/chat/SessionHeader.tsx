import { ActionIcon, Button, Tooltip } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link } from "wouter";
import { models, openapi } from "../../api/queries";
import type { SessionDetail } from "../../api/types";
import { bytes } from "../../lib/format";
import { byRule, describeLearning } from "../../lib/learning";
import { Fork, Log, Menu, Question, Reset } from "../../ui/icons";
import { DriftMeter } from "./DriftMeter";
import { ForkDialog } from "../../ui/ForkDialog";
import { LogDrawer } from "./LogDrawer";
import { ResetDialog } from "./ResetDialog";
import classes from "./SessionHeader.module.css";

interface Props {
  id: string;
  session: SessionDetail | undefined;
  onOpenList?: () => void;
  onBlame: () => void;
}

export function SessionHeader({ id, session, onOpenList, onBlame }: Props) {
  const own = useQuery(models).data?.find((entry) => entry.model_id === session?.model)?.own_rule ?? false;
  const ruled = byRule(useQuery(openapi).data);
  const [forking, fork] = useDisclosure(false);
  const [resetting, reset] = useDisclosure(false);
  const [reading, log] = useDisclosure(false);
  return (
    <header className={classes.header}>
      {onOpenList && (
        <ActionIcon aria-label="Show the sessions" onClick={onOpenList}>
          <Menu />
        </ActionIcon>
      )}
      <div className={classes.who}>
        <h1 title={id}>{session?.title || id}</h1>
        {session && (
          <p>
            <span>{session.model}</span>
            <span className={classes.options}>{describeLearning(session.options, own, ruled)}</span>
            <span className={classes.options}>{bytes(session.state_bytes)} of state</span>
            {session.parent_session && (
              <Link href={`/chat/${session.parent_session}`}>forked from {session.parent_session}</Link>
            )}
          </p>
        )}
      </div>
      {session && (
        <div className={classes.drift}>
          <span className="label">Drift</span>
          <DriftMeter drift={session.drift} policy={session.options.policy} />
        </div>
      )}
      <div className={classes.actions}>
        <Action label="Fork" help="A second session that goes on from here" icon={<Fork />} onClick={fork.open} off={!session} />
        <Action label="Reset" help="Fast weights back to the start; the history is kept" icon={<Reset />} onClick={reset.open} off={!session} />
        <Action label="Blame" help="Which turns moved an answer, and which broke a canary" icon={<Question />} onClick={onBlame} off={!session || session.turns.length === 0} />
        <Action label="Log" help="Every commit of this session" icon={<Log />} onClick={log.open} off={!session} />
      </div>
      {forking && <ForkDialog sessionId={id} from="its latest turn" onClose={fork.close} />}
      {resetting && <ResetDialog sessionId={id} onClose={reset.close} />}
      <LogDrawer sessionId={id} opened={reading} onClose={log.close} />
    </header>
  );
}

function Action(props: { label: string; help: string; icon: ReactNode; onClick: () => void; off: boolean }) {
  return (
    <Tooltip label={props.help}>
      <Button
        variant="default"
        size="xs"
        leftSection={props.icon}
        onClick={props.onClick}
        disabled={props.off}
        classNames={{ root: classes.action, section: classes.icon, label: classes.name }}
        aria-label={props.label}
      >
        {props.label}
      </Button>
    </Tooltip>
  );
}
