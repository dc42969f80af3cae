import { type RefObject, useLayoutEffect, useRef } from "react";

/** For a row of links that scrolls where it is wider than the page: the one to `where` we are comes into view. */
export function useCurrentInView(where: string): RefObject<HTMLElement | null> {
  const row = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const link = row.current?.querySelector<HTMLElement>("[aria-current]");
    if (row.current && link) row.current.scrollLeft = link.offsetLeft - row.current.offsetLeft - (row.current.clientWidth - link.offsetWidth) / 2;
  }, [where]);
  return row;
}
