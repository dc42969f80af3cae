import { Kbd, Modal } from "@mantine/core";
import { useDisclosure, useWindowEvent } from "@mantine/hooks";
import { useRef } from "react";
import { useLocation } from "wouter";
import { isTyping, shortcut } from "../lib/keys";
import { pages } from "../pages";
import classes from "./Shortcuts.module.css";

export function useShortcuts() {
  const [opened, { open, close }] = useDisclosure(false);
  const [, navigate] = useLocation();
  const prefix = useRef(0);
  useWindowEvent("keydown", (event) => {
    const after = Date.now() - prefix.current < 1200;
    const found = shortcut(event, isTyping(event.target as HTMLElement | null), after);
    prefix.current = found?.kind === "prefix" ? Date.now() : 0;
    if (!found || found.kind === "prefix") return;
    if (found.kind === "help") open();
    if (found.kind === "go") {
      const page = pages.find((entry) => entry.key === found.key);
      if (page) navigate(page.path);
    }
    if (found.kind === "focus") {
      const target = document.querySelector<HTMLElement>("[data-focus-target]");
      if (!target) return;
      event.preventDefault();
      target.focus();
    }
  });
  return { opened, open, close };
}

export function Shortcuts({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const rows: [string[], string][] = [
    ...pages.map((page): [string[], string] => [["g", page.key], `Go to ${page.name}`]),
    [["/"], "Focus the page's input"],
    [["Enter"], "Send the message"],
    [["Shift", "Enter"], "New line in the message"],
    [["Esc"], "Stop the reply"],
    [["?"], "Show these shortcuts"],
  ];
  return (
    <Modal opened={opened} onClose={onClose} title="Keyboard shortcuts" size="sm" closeButtonProps={{ "aria-label": "Close" }}>
      <dl className={classes.list}>
        {rows.map(([keys, text]) => (
          <div key={text}>
            <dt>
              {keys.map((key) => (
                <Kbd key={key} size="sm">
                  {key}
                </Kbd>
              ))}
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
    </Modal>
  );
}
