/** The commit under the pointer or the focus. Every chart, table and tree that shows it marks it too. */
import { useSyncExternalStore } from "react";

let marked: string | null = null;
const listeners = new Set<() => void>();

export function mark(commit: string | null): void {
  if (commit === marked) return;
  marked = commit;
  for (const listener of listeners) listener();
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export const useMarked = (): string | null => useSyncExternalStore(subscribe, () => marked);

/** Drawn anew only where its own answer changes. */
export const useIsMarked = (commit: string | null): boolean => useSyncExternalStore(subscribe, () => commit !== null && marked === commit);

/** For whatever stands for a commit. */
export const marks = (commit: string | null) => ({
  onPointerEnter: () => mark(commit),
  onPointerLeave: () => mark(null),
  onFocus: () => mark(commit),
  onBlur: () => mark(null),
});
