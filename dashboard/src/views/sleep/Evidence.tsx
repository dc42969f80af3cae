import { Link } from "wouter";
import type { SleepManifest } from "../../api/types";
import { count, figure, fixed, percent, plural, shortHash, signed, signedFigure, whole } from "../../lib/format";
import { differencesOf, partsByKept, tally, withinBound } from "../../lib/sleep";
import { Fold } from "../../ui/Fold";
import { DecisionMark } from "../../ui/Status";
import { Bar, Part, Rows } from "../../ui/Part";
import classes from "./Sleep.module.css";

/** All that speaks for or against a candidate. */
export function Evidence({ manifest }: { manifest: SleepManifest }) {
  return (
    <>
      <Evaluation manifest={manifest} />
      <Retention manifest={manifest} />
      <Forgetting manifest={manifest} />
      <Sources manifest={manifest} />
      {manifest.parts.length > 0 && <Parts manifest={manifest} />}
      {manifest.writes.length > 0 && <Writes manifest={manifest} />}
      {manifest.notes.length > 0 && (
        <Part title="Notes" about="What the run has to say of itself.">
          <ul className={classes.notes}>
            {manifest.notes.map((note) => (
              <li key={note}>{note}</li>
            ))}
          </ul>
        </Part>
      )}
    </>
  );
}

/** A change of a loss. What rose within the bound that was set is told, and not held against it. */
function Change({ value, text, allowed = false }: { value: number; text: string; allowed?: boolean }) {
  const better = value < 0 ? true : value > 0 && !allowed ? false : undefined;
  return (
    <span className={classes.change} data-better={better}>
      {text}
      {better !== undefined && <span className="visually-hidden">{better ? ", better" : ", worse"}</span>}
    </span>
  );
}

function Evaluation({ manifest }: { manifest: SleepManifest }) {
  const bound = withinBound(manifest);
  const differences = differencesOf(manifest);
  const most = manifest.request.max_core_rise;
  return (
    <Part title="Evaluation" about="The candidate beside its base, both without any fast weight; lower is better.">
      <Rows
        label="Evaluation"
        rows={differences}
        mark={(row) => ["data-difference", row.name]}
        columns={[
          { name: "Of", words: true, cell: (row) => row.name },
          { name: "In", words: true, cell: (row) => row.unit },
          { name: "Base", cell: (row) => figure(row.before, 4) },
          { name: "Candidate", cell: (row) => figure(row.after, 4) },
          { name: "Change", cell: (row) => <Change value={row.change} allowed={bound === true && row === differences[0]} text={signedFigure(row.change)} /> },
        ]}
      />
      {bound !== null && (
        <p className={classes.bound} data-bound={bound}>
          {bound ? "Within" : "Beyond"} the bound that was set: core may rise by {manifest.kind === "nano" ? percent(most, 1) : `${figure(most)} bits per byte`}.
        </p>
      )}
    </Part>
  );
}

function Retention({ manifest }: { manifest: SleepManifest }) {
  return (
    <Part
      title="Retention: what stays without the fast weights"
      about={`The ${manifest.kind === "nano" ? "runs" : "messages"} of each session, read from a fresh start, in ${manifest.unit}. Adapted: the base with the session's own fast weights. Kept: which share of the gap between base and adapted the candidate closes with none; all together ${percent(manifest.retention)}.`}
    >
      <Rows
        label="Retention"
        rows={manifest.retention_rows}
        mark={(row) => ["data-retention", row.session_id]}
        columns={[
          { name: "Session", words: true, cell: (row) => <SessionLink kind={manifest.kind} id={row.session_id} /> },
          { name: manifest.kind === "nano" ? "Steps" : "Tokens", cell: (row) => whole(row.tokens) },
          { name: "Base", cell: (row) => figure(row.base) },
          { name: "Adapted", cell: (row) => figure(row.adapted) },
          { name: "Candidate", cell: (row) => figure(row.candidate) },
          {
            name: "Kept",
            words: true,
            cell: (row) => (row.closed === null ? <span className="muted">nothing was gained</span> : <Bar share={row.closed} text={percent(row.closed)} />),
          },
        ]}
      />
    </Part>
  );
}

const FORGETTING: Record<SleepManifest["forgetting_rows"][number]["kind"], string> = { core: "core text, bits per byte", canary: "canary, nats per token", world: "world, MSE" };

function Forgetting({ manifest }: { manifest: SleepManifest }) {
  const bound = withinBound(manifest);
  return (
    <Part title="Forgetting: what must not be lost" about="Before and after the sleep; a rise is a loss.">
      <Rows
        label="Forgetting"
        rows={manifest.forgetting_rows}
        mark={(row) => ["data-forgetting", row.name]}
        columns={[
          { name: "Of", words: true, cell: (row) => row.name },
          { name: "Kind", words: true, cell: (row) => FORGETTING[row.kind] },
          { name: "Before", cell: (row) => figure(row.before, 4) },
          { name: "After", cell: (row) => figure(row.after, 4) },
          { name: "Rise", cell: (row) => <Change value={row.rise} allowed={row.kind !== "canary" && bound === true} text={signedFigure(row.rise)} /> },
        ]}
      />
    </Part>
  );
}

function SessionLink({ kind, id }: { kind: SleepManifest["kind"]; id: string }) {
  return <Link href={kind === "text" ? `/chat/${id}` : `/nano/${id}/overview`}>{id}</Link>;
}

function Sources({ manifest }: { manifest: SleepManifest }) {
  const unit = manifest.kind === "nano" ? "run" : "turn";
  return (
    <Part title="Sources" about="Which sessions taught it, and which of their turns.">
      <div className={classes.sources}>
        {manifest.sources.map((source) => (
          <Fold
            key={source.session_id}
            title={source.session_id}
            about={`${source.memory}, ${plural(source.turns.length, unit)}, ${plural(source.tokens, manifest.kind === "nano" ? "step" : "token")}, at ${shortHash(source.head)}`}
          >
            <ul className={classes.turns} aria-label={`Turns of ${source.session_id}`}>
              {source.turns.map((turn) => (
                <li key={turn.commit} data-source={turn.commit}>
                  <Link href={manifest.kind === "text" ? `/chat/${source.session_id}` : `/nano/${source.session_id}/overview?at=${turn.commit}`}>
                    {unit} {turn.turn}
                  </Link>
                  <code title={turn.commit}>{shortHash(turn.commit)}</code>
                  <span title={turn.preview}>{turn.preview}</span>
                </li>
              ))}
            </ul>
          </Fold>
        ))}
      </div>
    </Part>
  );
}

function Parts({ manifest }: { manifest: SleepManifest }) {
  return (
    <Part
      title="What changed"
      about="Each tensor of the model, by what it kept. Importance: how often core text reads one of the rows, for each of its places. Gain and cost: what this part alone gains on the traces and costs on core text, nats per token."
    >
      <Rows
        label="Parts"
        rows={partsByKept(manifest.parts)}
        mark={(part) => ["data-part", part.name]}
        columns={[
          { name: "Tensor", words: true, cell: (part) => part.name },
          { name: "Numbers", cell: (part) => count(part.params) },
          { name: "Importance", cell: (part) => figure(part.importance) },
          { name: "Change (L2)", cell: (part) => figure(part.change) },
          { name: "Kept", words: true, cell: (part) => <Bar share={part.scale} text={percent(part.scale)} /> },
          { name: "Gain", cell: (part) => figure(part.gain) },
          { name: "Cost", cell: (part) => figure(part.cost) },
        ]}
      />
    </Part>
  );
}

function Writes({ manifest }: { manifest: SleepManifest }) {
  const counts = tally(manifest.writes);
  return (
    <Part
      title="The guard's decisions"
      about={
        <>
          What was learned in some steps goes through the guard as one write: <DecisionMark decision="committed" count={counts.committed} />{" "}
          <DecisionMark decision="blocked" count={counts.blocked} /> <DecisionMark decision="rolled_back" count={counts.rolled_back} />
        </>
      }
    >
      <Rows
        label="Writes"
        rows={manifest.writes}
        mark={(write) => ["data-write", write.decision]}
        columns={[
          { name: "Step", cell: (write) => whole(write.step) },
          { name: "Decision", words: true, cell: (write) => <DecisionMark decision={write.decision} /> },
          { name: "Loss", cell: (write) => fixed(write.loss) },
          { name: "Written (L2)", cell: (write) => figure(write.update_norm) },
          { name: "Canary rise", cell: (write) => signed(write.canary_delta, 4) },
          { name: "Drift", cell: (write) => signed(write.drift, 4) },
          { name: "Reasons", words: true, cell: (write) => <span className={classes.reasons}>{write.reasons.join("; ")}</span> },
        ]}
      />
    </Part>
  );
}
