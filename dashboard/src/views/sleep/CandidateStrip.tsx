import { Button } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { api, take } from "../../api/client";
import { models, queryClient, sleepEvidence, sleeps } from "../../api/queries";
import type { SleepCandidate, SleepManifest } from "../../api/types";
import { clock, duration, figure, fixed, percent, plural } from "../../lib/format";
import { ApiProblem } from "../../lib/problem";
import { MODE_NAME, type Verdict, verdictsOf } from "../../lib/sleep";
import { Confirm } from "../../ui/Confirm";
import { Check, Close, Undo } from "../../ui/icons";
import { Problem } from "../../ui/Problem";
import { CandidateMark } from "../../ui/Status";
import strip from "../../ui/Strip.module.css";

const params = (id: string) => ({ params: { path: { model_id: id } } });

/** Reads anew what a decision changed. */
async function reread(id: string): Promise<void> {
  const keys = [sleeps.queryKey, sleepEvidence(id).queryKey, models.queryKey];
  await Promise.all(keys.map((queryKey) => queryClient.invalidateQueries({ queryKey, exact: true })));
}

async function decide(id: string, verdict: Verdict): Promise<SleepCandidate> {
  const done = await take(api.POST(`/api/sleep/{model_id}/${verdict}`, params(id)));
  await reread(id);
  return done;
}

const SAID: Record<SleepCandidate["status"], string | null> = {
  running: null,
  failed: null,
  cancelled: "Cancelled; a run keeps nothing before its candidate is whole.",
  interrupted: "Its process ended before there was a candidate. Start it again from the form.",
  sleep_candidate: "A copy with changed slow weights. Nothing uses it until it is approved: the latest usable model never is a candidate.",
  ready: "Approved: new sessions may use it, and it counts as a usable model. Sessions that there are keep theirs.",
  rejected: "Rejected: it is kept, and never chosen by itself.",
};

/** One candidate, or the run that is to make it: where it stands, and what can be decided. */
export function CandidateStrip({ candidate, manifest }: { candidate: SleepCandidate; manifest?: SleepManifest | null }) {
  const [asked, ask] = useState<Verdict | null>(null);
  const id = candidate.model_id;
  const cancel = useMutation({
    mutationFn: () => take(api.POST("/api/sleep/{model_id}/cancel", params(id))),
    onSettled: () => void reread(id),
  });
  const verdicts = verdictsOf(candidate.status);
  return (
    <section className={strip.strip} aria-label={`Candidate ${id}`} data-candidate={id} data-status={candidate.status}>
      <div className={strip.head}>
        <h2 title={id}>{id}</h2>
        <CandidateMark status={candidate.status} />
        <span className={strip.actions}>
          {candidate.status === "running" && (
            <Button variant="default" size="xs" loading={cancel.isPending} onClick={() => cancel.mutate()}>
              Cancel
            </Button>
          )}
          {candidate.status === "ready" && candidate.kind === "text" && (
            <Button component={Link} href={`/chat?model=${id}`} variant="default" size="xs">
              Chat with it
            </Button>
          )}
          {verdicts.includes("revert") && (
            <Button variant="default" size="xs" leftSection={<Undo size={14} />} onClick={() => ask("revert")}>
              Revert
            </Button>
          )}
          {verdicts.includes("reject") && (
            <Button variant="default" size="xs" leftSection={<Close size={14} />} onClick={() => ask("reject")}>
              Reject
            </Button>
          )}
          {verdicts.includes("approve") && (
            <Button size="xs" leftSection={<Check size={14} />} onClick={() => ask("approve")}>
              Approve
            </Button>
          )}
        </span>
      </div>
      <p className={strip.about} role={candidate.status === "running" ? "status" : undefined}>
        {[
          candidate.kind === "nano" ? "Nano" : MODE_NAME[candidate.mode],
          candidate.base_model_id && `from ${candidate.base_model_id}`,
          candidate.sessions > 0 && `${plural(candidate.turns, candidate.kind === "nano" ? "run" : "turn")} of ${plural(candidate.sessions, "session")}`,
          clock(candidate.created_at),
          candidate.decided_at && `decided ${clock(candidate.decided_at)}`,
          candidate.stage && `now: ${candidate.stage}`,
        ]
          .filter(Boolean)
          .join(" · ")}
      </p>
      {candidate.core_before !== null && (
        <dl className={strip.figures}>
          <Figure name="Kept without fast weights" value={percent(candidate.retention)} />
          <Figure name={candidate.kind === "nano" ? "Other worlds, MSE" : "Core text, bits per byte"} value={`${place(candidate, candidate.core_before)} → ${place(candidate, candidate.core_after)}`} />
          {manifest && manifest.steps > 0 && <Figure name="Steps" value={String(manifest.steps)} />}
          {manifest && <Figure name="CPU time" value={duration(manifest.cpu_seconds)} />}
        </dl>
      )}
      {SAID[candidate.status] && <p className={strip.note}>{SAID[candidate.status]}</p>}
      {candidate.status === "failed" && <Problem error={new ApiProblem(0, "The sleep failed", candidate.error ?? "It left no message.")} />}
      <Problem error={cancel.error} />
      {asked === "approve" && (
        <Confirm title={`Approve ${id}?`} action="Approve" run={() => decide(id, "approve")} onClose={() => ask(null)}>
          It becomes a usable model, and the latest one where no model is named. {candidate.base_model_id} stays as it is, and so do all sessions. One click takes
          the approval back.
        </Confirm>
      )}
      {asked === "reject" && (
        <Confirm title={`Reject ${id}?`} action="Reject" run={() => decide(id, "reject")} onClose={() => ask(null)}>
          It is never chosen by itself. Its weights and its evidence are kept, and the rejection can be taken back.
        </Confirm>
      )}
      {asked === "revert" && (
        <Confirm title={`Take the decision on ${id} back?`} action="Revert" run={() => decide(id, "revert")} onClose={() => ask(null)}>
          {candidate.status === "ready" ? "It is a candidate again, and no longer the latest usable model. Sessions that began with it keep it." : "It is a candidate again, to be decided."}
        </Confirm>
      )}
    </section>
  );
}

const place = (candidate: SleepCandidate, value: number | null): string => (candidate.kind === "nano" ? figure(value) : fixed(value));

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
