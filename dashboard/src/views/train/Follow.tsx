import { useEffect } from "react";
import { follow } from "../../api/follow";

/** Keeps one running job's curve current while the page is open. */
export function Follow({ id, streaming }: { id: string; streaming: boolean }) {
  useEffect(() => {
    const stop = new AbortController();
    void follow(id, stop.signal, streaming);
    return () => stop.abort();
  }, [id, streaming]);
  return null;
}
