/** Which shortcut a key means. Pure: the page says whether a text field has the focus and which key came before. */

export type Shortcut = { kind: "go"; key: string } | { kind: "help" } | { kind: "focus" } | { kind: "prefix" } | null;

export interface Press {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
}

/** `g` then a page's key goes there; `?` shows the shortcuts; `/` focuses the page's input. Never while typing. */
export function shortcut(press: Press, typing: boolean, afterPrefix: boolean): Shortcut {
  if (typing || press.ctrlKey || press.metaKey || press.altKey) return null;
  if (afterPrefix && /^[a-z]$/.test(press.key)) return { kind: "go", key: press.key };
  if (press.key === "g") return { kind: "prefix" };
  if (press.key === "?") return { kind: "help" };
  if (press.key === "/") return { kind: "focus" };
  return null;
}

interface Element {
  tagName: string;
  isContentEditable?: boolean;
  type?: string;
}

/** Whether keys that arrive at this element are text. */
export function isTyping(target: Element | null): boolean {
  if (!target) return false;
  if (target.isContentEditable) return true;
  if (target.tagName === "TEXTAREA" || target.tagName === "SELECT") return true;
  return target.tagName === "INPUT" && !["checkbox", "radio", "button", "range"].includes(target.type ?? "text");
}

/** The attribute of the field that `/` focuses. */
export const FOCUS_TARGET = { "data-focus-target": true };
