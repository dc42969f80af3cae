import { Tooltip } from "@mantine/core";
import type { SessionOptions } from "../../api/types";
import { budgetShare } from "../../lib/events";
import { fixed, percent, signed } from "../../lib/format";
import classes from "./DriftMeter.module.css";

interface Props {
  drift: number | null;
  policy: SessionOptions["policy"] | undefined;
}

/** How far the canary losses have risen since the start, against the budget that the guard enforces. */
export function DriftMeter({ drift, policy }: Props) {
  const rule = policy?.drift;
  const budget = rule && rule.mode !== "off" ? rule.budget : null;
  const share = budgetShare(drift, budget);
  const enforced = rule?.mode === "enforce";
  const title =
    budget === null
      ? "The drift check is off in this session."
      : `The canaries' worst rise since the start is ${signed(drift)} nats per token; ${
          enforced ? "a write past" : "noted, not refused, past"
        } ${fixed(budget, 2)} is ${enforced ? "refused" : "only observed"}.`;
  return (
    <Tooltip label={title}>
      <span className={classes.meter} tabIndex={0} aria-label={title} role="img">
        <span className={classes.text}>
          {signed(drift)}
          {budget !== null && <small> of {fixed(budget, 2)}</small>}
        </span>
        {budget !== null && (
          <span className={classes.track} data-level={share === null ? undefined : share >= 0.9 ? "high" : share >= 0.6 ? "mid" : undefined}>
            <i style={{ width: percent(share ?? 0, 1).replace(" ", "") }} />
          </span>
        )}
      </span>
    </Tooltip>
  );
}
