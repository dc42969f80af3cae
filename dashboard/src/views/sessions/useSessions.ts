import { useQueries } from "@tanstack/react-query";
import { useEffect, useMemo, useRef } from "react";
import { queryClient } from "../../api/queries";
import { fullLog, lists } from "../../api/sessionVerbs";
import type { SessionRow } from "../../lib/sessionRows";
import { buildTree, type SessionLog, type Tree } from "../../lib/tree";

/** Sessions of every kind that the server lists. */
export function useSessions() {
  const [text, nano] = useQueries({ queries: [...lists] });
  const rows = useMemo(() => [...(text.data ?? []), ...(nano.data ?? [])], [text.data, nano.data]);
  return { rows, loading: text.isPending || nano.isPending, error: text.error ?? nano.error };
}

/** What the list said of a session when its log was asked for. */
const seen = new Map<string, string>();

/** The commits of these sessions as one tree; read again where the list tells of a change. */
export function useTree(rows: readonly SessionRow[]): { tree: Tree; loading: boolean; error: unknown } {
  useEffect(() => {
    for (const row of rows) {
      const now = `${row.head} ${row.updatedAt}`;
      const before = seen.get(row.key);
      seen.set(row.key, now);
      if (before !== undefined && before !== now) void queryClient.invalidateQueries({ queryKey: fullLog(row).queryKey });
    }
  }, [rows]);
  const found = useQueries({
    queries: rows.map((row) => fullLog(row)),
    combine: (results) => ({
      data: results.map((result) => result.data),
      loading: results.some((result) => result.isPending),
      error: results.find((result) => result.error)?.error ?? null,
    }),
  });
  const last = useRef<SessionLog[]>([]);
  const known = useMemo(() => {
    // While a new session's log is read the tree stays as it was: nothing jumps.
    if (!found.loading) last.current = rows.flatMap((row, i): SessionLog[] => (found.data[i] ? [{ row, log: found.data[i] }] : []));
    return last.current;
  }, [rows, found]);
  const tree = useMemo(() => buildTree(known), [known]);
  return { tree, loading: found.loading, error: found.error };
}
