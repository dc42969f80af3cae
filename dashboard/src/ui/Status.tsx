import type { Decision, JobStatus, SleepCandidate } from "../api/types";
import { DECISION_LABEL } from "../lib/events";
import type { Outcome } from "../lib/redteam";
import classes from "./Status.module.css";

type Shape = "disc" | "ring" | "square" | "triangle" | "cross" | "dash" | "pulse" | "flag";
type Tone = "good" | "warn" | "bad" | "quiet" | "live";

const JOB: Record<JobStatus, [Shape, Tone, string]> = {
  queued: ["ring", "quiet", "queued"],
  running: ["pulse", "live", "running"],
  done: ["disc", "good", "done"],
  failed: ["cross", "bad", "failed"],
  cancelled: ["dash", "quiet", "cancelled"],
  interrupted: ["square", "warn", "interrupted"],
};

const DECISION: Record<Decision, [Shape, Tone]> = {
  committed: ["disc", "good"],
  blocked: ["square", "warn"],
  rolled_back: ["triangle", "bad"],
};

/** A shape per state, so that none is told by colour alone. */
function Mark({ shape }: { shape: Shape }) {
  return (
    <svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true" className={shape === "pulse" ? classes.pulse : undefined}>
      {shape === "disc" && <circle cx="5" cy="5" r="4" fill="currentColor" />}
      {shape === "pulse" && <circle cx="5" cy="5" r="4" fill="currentColor" />}
      {shape === "ring" && <circle cx="5" cy="5" r="3.6" fill="none" stroke="currentColor" strokeWidth="1.6" />}
      {shape === "square" && <rect x="1.2" y="1.2" width="7.6" height="7.6" fill="currentColor" />}
      {shape === "triangle" && <path d="M5 9.3.4 1.2h9.2Z" fill="currentColor" />}
      {shape === "cross" && <path d="m1.5 1.5 7 7m0-7-7 7" stroke="currentColor" strokeWidth="2" />}
      {shape === "flag" && <path d="M2 9.6V.8h6.6L6.8 3.3l1.8 2.5H3.2" fill="currentColor" stroke="currentColor" strokeWidth="0.9" strokeLinejoin="round" />}
      {shape === "dash" && <path d="M1 5h8" stroke="currentColor" strokeWidth="2" />}
    </svg>
  );
}

export function JobMark({ status }: { status: JobStatus }) {
  const [shape, tone, label] = JOB[status];
  return (
    <span className={classes.status} data-tone={tone}>
      <Mark shape={shape} />
      {label}
    </span>
  );
}

/** `● 4 committed`; without a count just the decision. Zero counts are quiet. */
export function DecisionMark({ decision, count }: { decision: Decision; count?: number }) {
  const [shape, tone] = DECISION[decision];
  return (
    <span className={classes.status} data-tone={count === 0 ? "quiet" : tone} data-decision={decision}>
      <Mark shape={shape} />
      {count !== undefined && <b>{count}</b>}
      {DECISION_LABEL[decision]}
    </span>
  );
}

const CANDIDATE: Record<SleepCandidate["status"], [Shape, Tone, string]> = {
  running: JOB.running,
  failed: JOB.failed,
  cancelled: JOB.cancelled,
  interrupted: JOB.interrupted,
  sleep_candidate: ["ring", "warn", "to be decided"],
  ready: ["disc", "good", "approved"],
  rejected: ["dash", "quiet", "rejected"],
};

/** Where a sleep candidate stands, or the run that is to make it. */
export function CandidateMark({ status }: { status: SleepCandidate["status"] }) {
  const [shape, tone, label] = CANDIDATE[status];
  return (
    <span className={classes.status} data-tone={tone}>
      <Mark shape={shape} />
      {label}
    </span>
  );
}

const OUTCOME: Record<Outcome, [Shape, Tone]> = {
  succeeded: ["triangle", "bad"],
  stopped: ["square", "good"],
  failed: ["ring", "quiet"],
};

/** What came of an attack, in the shape of its kind and in words. */
export function OutcomeMark({ outcome, children }: { outcome: Outcome; children: string }) {
  const [shape, tone] = OUTCOME[outcome];
  return (
    <span className={classes.status} data-tone={tone}>
      <Mark shape={shape} />
      {children}
    </span>
  );
}

/** A chunk that was noted, whatever was decided on it. */
export function FlagMark({ count }: { count?: number }) {
  return (
    <span className={classes.status} data-tone={count === 0 ? "quiet" : "note"}>
      <Mark shape="flag" />
      {count !== undefined && <b>{count}</b>}
      flagged
    </span>
  );
}
