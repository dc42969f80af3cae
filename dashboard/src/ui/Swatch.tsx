import { useComputedColorScheme } from "@mantine/core";
import { stroke } from "../lib/palette";

/** The line of a run as the charts draw it. */
export function Swatch({ slot }: { slot: number }) {
  const scheme = useComputedColorScheme("light", { getInitialValueInEffect: false });
  const style = stroke(slot);
  return (
    <svg width="22" height="8" viewBox="0 0 22 8" aria-hidden="true" style={{ flex: "none" }}>
      <path d="M0 4h22" stroke={style[scheme]} strokeWidth="2.2" strokeDasharray={style.dash.join(" ")} />
    </svg>
  );
}
