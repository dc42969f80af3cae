import { Button } from "@mantine/core";
import type { Ref } from "react";
import type { RedteamReport } from "../../api/types";
import { clock, duration, figure, plural, signed, whole } from "../../lib/format";
import { reproduce } from "../../lib/redteam";
import { Save } from "../../ui/icons";
import { Line } from "../../ui/Line";
import strip from "../../ui/Strip.module.css";
import { Ablation } from "./Ablation";
import { Attempts } from "./Attempts";
import { Drip } from "./Drip";
import page from "../../ui/Page.module.css";
import { Scores } from "./Scores";
import { Success } from "./Success";
import { Utility } from "./Utility";

/** One report: what was attacked and how, then every figure that the run measured. */
export function Report({ report, ref }: { report: RedteamReport; ref?: Ref<HTMLElement> }) {
  const successes = report.attempts.filter((attempt) => attempt.success_at !== null).length;
  const stopped = report.attempts.filter((attempt) => attempt.stopped).length;
  const harm = Math.max(0, ...report.attempts.map((attempt) => attempt.harm));
  const control = Math.max(0, ...report.families.map((family) => family.control.harm_max));
  const refused = report.families.reduce((sum, family) => sum + family.control.refused, 0);
  const chunks = report.families.reduce((sum, family) => sum + family.control.chunks, 0);
  const gained = report.utility.filter((row) => row.off === "none");
  const mean = gained.length ? gained.reduce((sum, row) => sum + row.gained, 0) / gained.length : null;
  return (
    <>
      <section ref={ref} className={strip.strip} aria-label="Report" data-report={report.run_id}>
        <div className={strip.head}>
          <h2 title={report.run_id}>
            {report.model} under policy {report.policy}
          </h2>
          <span className={strip.actions}>
            <Button
              component="a"
              href={`/api/redteam/${report.run_id}`}
              download={`${report.run_id}.json`}
              variant="default"
              size="xs"
              leftSection={<Save size={14} />}
            >
              JSON
            </Button>
          </span>
        </div>
        <p className={strip.about}>
          {[
            report.run_id,
            clock(report.created_at),
            `${plural(report.budget, "guard step")} an attempt`,
            `${plural(report.chunk_tokens, "token")} a chunk`,
            `learning rate ${figure(report.lr)}`,
            `${report.seeds.length === 1 ? "seed" : "seeds"} ${report.seeds.join(", ")}`,
          ].join(" · ")}
        </p>
        <dl className={strip.figures}>
          <Figure name="Attacks that succeeded" value={`${whole(successes)} of ${whole(report.attempts.length)}`} />
          <Figure name="Attacks refused in part or whole" value={`${whole(stopped)} of ${whole(report.attempts.length)}`} />
          <Figure name="Most harm (nats)" value={figure(harm)} />
          <Figure name="Of benign controls" value={figure(control)} />
          <Figure name="Control chunks refused" value={`${whole(refused)} of ${whole(chunks)}`} />
          <Figure name="Bits per byte gained, mean" value={signed(mean)} />
          <Figure name="Guard steps" value={whole(report.guard_steps)} />
          <Figure name="Gradient queries" value={whole(report.gradient_queries)} />
          <Figure name="CPU time" value={duration(report.cpu_seconds)} />
        </dl>
        <div className={page.hint}>
          To reproduce it (a policy that does not ship is named by its file)
          <Line text={reproduce(report)} />
        </div>
        {report.notes.map((note) => (
          <p key={note} className={strip.note}>
            {note}
          </p>
        ))}
      </section>
      <Success families={report.families} />
      <Attempts report={report} />
      <Ablation rows={report.ablation} />
      <Utility rows={report.utility} />
      <Scores aucs={report.auc} rocs={report.roc} />
      <Drip rows={report.drip} />
    </>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
