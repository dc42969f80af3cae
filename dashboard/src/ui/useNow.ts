import { useInterval } from "@mantine/hooks";
import { useState } from "react";

/** The present, in milliseconds, renewed now and then so that "4 min ago" stays true. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(() => Date.now());
  useInterval(() => setNow(Date.now()), everyMs, { autoInvoke: true });
  return now;
}
