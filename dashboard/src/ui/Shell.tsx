import { ActionIcon, Tooltip, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link, useLocation } from "wouter";
import { health } from "../api/queries";
import { fromError } from "../lib/problem";
import { pages } from "../pages";
import { Keys, Moon, Sun } from "./icons";
import classes from "./Shell.module.css";
import { Shortcuts, useShortcuts } from "./Shortcuts";
import { useCurrentInView } from "./useCurrentInView";

export function Shell({ children }: { children: ReactNode }) {
  const [location] = useLocation();
  const nav = useCurrentInView(location.split("/")[1] ?? "");
  const shortcuts = useShortcuts();
  return (
    <div className={classes.shell}>
      <a href="#main" className="skip">
        Skip to content
      </a>
      <header className={classes.bar}>
        <Link href="/" className={classes.brand} aria-label="Fastweights, start page">
          <img src="/icon.svg" width="22" height="22" alt="" />
          <span>Fastweights</span>
        </Link>
        <nav ref={nav} aria-label="Pages" className={classes.nav}>
          {pages.map((page) => {
            const here = location === page.path || location.startsWith(`${page.path}/`);
            return (
              <Link key={page.path} href={page.path} className={classes.link} aria-current={here ? "page" : undefined}>
                {page.name}
              </Link>
            );
          })}
        </nav>
        <div className={classes.tools}>
          <Server />
          <Tooltip label="Keyboard shortcuts (?)">
            <ActionIcon aria-label="Keyboard shortcuts" onClick={shortcuts.open}>
              <Keys />
            </ActionIcon>
          </Tooltip>
          <Scheme />
        </div>
      </header>
      <main id="main" className={classes.main} tabIndex={-1}>
        {children}
      </main>
      <Shortcuts opened={shortcuts.opened} onClose={shortcuts.close} />
    </div>
  );
}

/** Whether the server answers, and which one it is. */
function Server() {
  const { data, error } = useQuery(health);
  if (!data && !error) return null;
  const problem = error && fromError(error);
  const text = problem ? (problem.status ? `server error ${problem.status}` : "server away") : `v${data?.version} · ${data?.device}`;
  const title = problem ? `${problem.detail} The page asks again every 15 seconds.` : `Store: ${data?.root}`;
  return (
    <Tooltip label={title}>
      <span className={classes.server} data-away={problem ? true : undefined} tabIndex={0}>
        <i aria-hidden="true" />
        {text}
      </span>
    </Tooltip>
  );
}

function Scheme() {
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme("light", { getInitialValueInEffect: false });
  const next = scheme === "dark" ? "light" : "dark";
  return (
    <Tooltip label={`Change to the ${next} theme`}>
      <ActionIcon aria-label={`Change to the ${next} theme`} onClick={() => setColorScheme(next)}>
        {scheme === "dark" ? <Sun /> : <Moon />}
      </ActionIcon>
    </Tooltip>
  );
}
