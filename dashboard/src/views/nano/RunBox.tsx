import { Button, NumberInput, Progress } from "@mantine/core";
import { useState } from "react";
import type { NanoSessionDetail } from "../../api/types";
import { plural, whole } from "../../lib/format";
import { Play, Stop } from "../../ui/icons";
import { Problem } from "../../ui/Problem";
import { start, stop, useLive } from "./live";
import classes from "./Nano.module.css";
import { useChoice } from "./useNano";

const MOST = 20_000;

/** Goes on in the session's world; the head and what is on show move with it. */
export function RunBox({ session }: { session: NanoSessionDetail }) {
  const live = useLive();
  const [steps, setSteps] = useState<number | string>(1000);
  const [, put] = useChoice();
  const here = live.run?.session === session.session_id ? live.run : null;
  const error = live.error?.session === session.session_id ? live.error.problem : null;
  const done = live.done?.session === session.session_id ? live.done.run : null;
  const fits = typeof steps === "number" && Number.isInteger(steps) && steps >= 1 && steps <= MOST;
  return (
    <form
      className={classes.run}
      aria-label="Run"
      data-phase={here ? live.phase : "rest"}
      onSubmit={(event) => {
        event.preventDefault();
        if (!fits || live.phase !== "rest") return;
        put({ at: null });
        void start(session.session_id, steps);
      }}
    >
      {here ? (
        <div className={classes.progress}>
          <span className="num">
            {whole(here.read)} of {plural(here.steps, "step")}
          </span>
          <Progress value={(100 * here.read) / here.steps} size={4} radius={2} aria-label={`${whole(here.read)} of ${plural(here.steps, "step")}`} />
        </div>
      ) : (
        <NumberInput
          size="xs"
          w={84}
          aria-label="Steps"
          value={steps}
          onChange={setSteps}
          min={1}
          max={MOST}
          allowDecimal={false}
          clampBehavior="none"
          error={!fits}
          title={fits ? "Steps that the session goes on" : `1 to ${whole(MOST)}`}
          rightSection={<span className={classes.unit}>steps</span>}
          rightSectionWidth={40}
        />
      )}
      {here ? (
        <Button size="xs" variant="default" leftSection={<Stop size={14} />} loading={live.phase === "stopping"} onClick={stop}>
          Stop
        </Button>
      ) : (
        <Button size="xs" type="submit" leftSection={<Play size={13} />} disabled={!fits || live.phase !== "rest"}>
          Run
        </Button>
      )}
      <span className="visually-hidden" role="status" data-ended={done?.run_id}>
        {done && `Run ${done.turn} has read ${plural(done.steps, "step")}: ${done.committed} committed, ${done.blocked} blocked, ${done.rolled_back} rolled back.`}
      </span>
      {error && (
        <div className={classes.runError}>
          <Problem error={error} />
        </div>
      )}
    </form>
  );
}
