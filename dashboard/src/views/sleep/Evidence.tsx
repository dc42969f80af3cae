import { Link } from "wouter";
import type { SleepManifest } from "../../api/types";
import { count, figure, fixed, percent, plural, shortHash, signed, signedFigure, whole } from "../../lib/format";
import { differencesOf, partsByKept, tally, withinBound } from "../../lib/sleep";
import { Fold } from "../../ui/Fold";
import { DecisionMark } from "../../ui/Status";
import { Bar, Part, Wide } from "../redteam/Part";
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
  const most = manifest.request.max_core_rise;
  return (
    <Part title="Evaluation" about="The candidate beside its base, both without any fast weight; lower is better.">
      <Wide label="Evaluation">
        <thead>
          <tr>
            <th scope="col">Of</th>
            <th scope="col">In</th>
            <th scope="col" data-num>Base</th>
            <th scope="col" data-num>Candidate</th>
            <th scope="col" data-num>Change</th>
          </tr>
        </thead>
        <tbody>
          {differencesOf(manifest).map((row, i) => (
            <tr key={row.name} data-difference={row.name}>
              <th scope="row">{row.name}</th>
              <td>{row.unit}</td>
              <td data-num>{figure(row.before, 4)}</td>
              <td data-num>{figure(row.after, 4)}</td>
              <td data-num>
                <Change value={row.change} allowed={bound === true && i === 0} text={signedFigure(row.change)} />
              </td>
            </tr>
          ))}
        </tbody>
      </Wide>
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
      <div className={classes.bars}>
        <Wide label="Retention">
          <thead>
            <tr>
              <th scope="col">Session</th>
              <th scope="col" data-num>{manifest.kind === "nano" ? "Steps" : "Tokens"}</th>
              <th scope="col" data-num>Base</th>
              <th scope="col" data-num>Adapted</th>
              <th scope="col" data-num>Candidate</th>
              <th scope="col">Kept</th>
            </tr>
          </thead>
          <tbody>
            {manifest.retention_rows.map((row) => (
              <tr key={row.session_id} data-retention={row.session_id}>
                <th scope="row">
                  <SessionLink kind={manifest.kind} id={row.session_id} />
                </th>
                <td data-num>{whole(row.tokens)}</td>
                <td data-num>{figure(row.base)}</td>
                <td data-num>{figure(row.adapted)}</td>
                <td data-num>{figure(row.candidate)}</td>
                <td>{row.closed === null ? <span className="muted">nothing was gained</span> : <Bar share={row.closed} text={percent(row.closed)} />}</td>
              </tr>
            ))}
          </tbody>
        </Wide>
      </div>
    </Part>
  );
}

const FORGETTING: Record<SleepManifest["forgetting_rows"][number]["kind"], string> = { core: "core text, bits per byte", canary: "canary, nats per token", world: "world, MSE" };

function Forgetting({ manifest }: { manifest: SleepManifest }) {
  return (
    <Part title="Forgetting: what must not be lost" about="Before and after the sleep; a rise is a loss.">
      <div className={classes.bars}>
        <Wide label="Forgetting">
          <thead>
            <tr>
              <th scope="col">Of</th>
              <th scope="col">Kind</th>
              <th scope="col" data-num>Before</th>
              <th scope="col" data-num>After</th>
              <th scope="col" data-num>Rise</th>
            </tr>
          </thead>
          <tbody>
            {manifest.forgetting_rows.map((row) => (
              <tr key={`${row.kind} ${row.name}`} data-forgetting={row.name}>
                <th scope="row">{row.name}</th>
                <td>{FORGETTING[row.kind]}</td>
                <td data-num>{figure(row.before, 4)}</td>
                <td data-num>{figure(row.after, 4)}</td>
                <td data-num>
                  <Change value={row.rise} allowed={row.kind !== "canary" && withinBound(manifest) === true} text={signedFigure(row.rise)} />
                </td>
              </tr>
            ))}
          </tbody>
        </Wide>
      </div>
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
      <div className={classes.bars}>
        <Wide label="Parts">
          <thead>
            <tr>
              <th scope="col">Tensor</th>
              <th scope="col" data-num>Numbers</th>
              <th scope="col" data-num>Importance</th>
              <th scope="col" data-num>Change (L2)</th>
              <th scope="col">Kept</th>
              <th scope="col" data-num>Gain</th>
              <th scope="col" data-num>Cost</th>
            </tr>
          </thead>
          <tbody>
            {partsByKept(manifest.parts).map((part) => (
              <tr key={part.name} data-part={part.name}>
                <th scope="row">{part.name}</th>
                <td data-num>{count(part.params)}</td>
                <td data-num>{figure(part.importance)}</td>
                <td data-num>{figure(part.change)}</td>
                <td>
                  <Bar share={part.scale} text={percent(part.scale)} />
                </td>
                <td data-num>{figure(part.gain)}</td>
                <td data-num>{figure(part.cost)}</td>
              </tr>
            ))}
          </tbody>
        </Wide>
      </div>
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
      <div className={classes.bars}>
        <Wide label="Writes">
          <thead>
            <tr>
              <th scope="col" data-num>Step</th>
              <th scope="col">Decision</th>
              <th scope="col" data-num>Loss</th>
              <th scope="col" data-num>Written (L2)</th>
              <th scope="col" data-num>Canary rise</th>
              <th scope="col" data-num>Drift</th>
              <th scope="col">Reasons</th>
            </tr>
          </thead>
          <tbody>
            {manifest.writes.map((write) => (
              <tr key={write.step} data-write={write.decision}>
                <th scope="row" data-num>{whole(write.step)}</th>
                <td>
                  <DecisionMark decision={write.decision} />
                </td>
                <td data-num>{fixed(write.loss)}</td>
                <td data-num>{figure(write.update_norm)}</td>
                <td data-num>{signed(write.canary_delta, 4)}</td>
                <td data-num>{signed(write.drift, 4)}</td>
                <td className={classes.reasons}>{write.reasons.join("; ")}</td>
              </tr>
            ))}
          </tbody>
        </Wide>
      </div>
    </Part>
  );
}
