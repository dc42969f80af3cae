import { ActionIcon, Button, Select } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { Link } from "wouter";
import { type SessionRef, untag } from "../../api/sessionVerbs";
import { clock, shortHash, signedFigure } from "../../lib/format";
import { DRIFT_UNIT } from "../../lib/sessionRows";
import { nameOf, type TreeNode } from "../../lib/tree";
import { Close } from "../../ui/icons";
import { Problem } from "../../ui/Problem";
import { DecisionMark } from "../../ui/Status";
import { Actions } from "./Actions";
import { KindBadge } from "./KindBadge";
import classes from "./Sessions.module.css";

interface Props {
  node: TreeNode;
  /** The session that verbs are asked of: one of those that hold the commit. */
  of: SessionRef;
  onSession: (id: string) => void;
  /** Compare that commit (null: none is chosen yet) with the one on show. */
  from: string | null;
  onFrom: (commit: string | null) => void;
  root: string;
  onShow: (commit: string, session: string) => void;
}

/** One commit: what happened in it, its names, and what can be done with it. */
export function Details({ node, of, onSession, from, onFrom, root, onShow }: Props) {
  const { commit } = node;
  const chunks = commit.committed + commit.blocked + commit.rolled_back;
  const tags = node.tags.filter(({ session }) => session === of.id);
  return (
    <section className={classes.details} aria-label="Commit" data-details={node.id}>
      <div className={classes.head}>
        <h2>{nameOf(commit)}</h2>
        <KindBadge kind={node.kind} />
        <code title={commit.commit}>{shortHash(commit.commit)}</code>
      </div>
      {node.sessions.length > 1 ? (
        <Select
          label={`As session (${node.sessions.length} hold this commit)`}
          data={[...node.sessions].sort()}
          value={of.id}
          onChange={(id) => id && onSession(id)}
        />
      ) : (
        <p className={classes.of}>
          of <Link href={node.kind === "text" ? `/chat/${of.id}` : `/nano/${of.id}/overview?at=${node.id}`}>{of.id}</Link>
        </p>
      )}
      {commit.summary && <p className={classes.summary}>{commit.summary}</p>}
      {chunks > 0 && (
        <div className={classes.counts}>
          <DecisionMark decision="committed" count={commit.committed} />
          <DecisionMark decision="blocked" count={commit.blocked} />
          <DecisionMark decision="rolled_back" count={commit.rolled_back} />
        </div>
      )}
      <dl className={classes.facts}>
        {commit.drift !== null && <Fact name="Drift">{signedFigure(commit.drift)} {DRIFT_UNIT[node.kind]}</Fact>}
        <Fact name="Made">{clock(commit.created_at)}</Fact>
        {commit.session && commit.session !== of.id && <Fact name="Made by">{commit.session}</Fact>}
        <Fact name="State">
          <code title={commit.state}>{shortHash(commit.state)}</code>
        </Fact>
        {node.heads.length > 0 && <Fact name="Head of">{node.heads.join(", ")}</Fact>}
      </dl>
      {tags.length > 0 && <Tags of={of} tags={tags.map(({ tag }) => tag)} />}
      <Actions node={node} of={of} onShow={onShow} />
      <div className={classes.compareWith} role="group" aria-label="Compare">
        <span className="label">Compare</span>
        <div>
          {node.parent && <Choice label="with its parent" commit={node.parent} from={from} onFrom={onFrom} />}
          {root !== node.id && root !== node.parent && <Choice label="with the start" commit={root} from={from} onFrom={onFrom} />}
          <Choice label={from === node.id ? "now choose another commit" : "with another commit"} commit={node.id} from={from} onFrom={onFrom} />
        </div>
      </div>
    </section>
  );
}

function Choice({ label, commit, from, onFrom }: { label: string; commit: string; from: string | null; onFrom: (commit: string | null) => void }) {
  const on = from === commit;
  return (
    <Button size="compact-sm" variant={on ? "light" : "default"} aria-pressed={on} onClick={() => onFrom(on ? null : commit)}>
      {label}
    </Button>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Tags({ of, tags }: { of: SessionRef; tags: string[] }) {
  const removing = useMutation({ mutationFn: (name: string) => untag(of, name) });
  return (
    <>
      <ul className={classes.tags} aria-label="Tags">
        {tags.map((name) => (
          <li key={name}>
            {name}
            <ActionIcon size="xs" aria-label={`Remove the tag ${name}`} loading={removing.isPending} onClick={() => removing.mutate(name)}>
              <Close size={11} />
            </ActionIcon>
          </li>
        ))}
      </ul>
      <Problem error={removing.error} />
    </>
  );
}
