/** The pages that exist, in the order of the navigation. A new page is one row here and one folder in views/. */
import { type ComponentType, lazy, type LazyExoticComponent } from "react";

export interface Page {
  path: string;
  name: string;
  /** Second key after `g`. */
  key: string;
  view: LazyExoticComponent<ComponentType>;
}

export const pages: readonly Page[] = [
  { path: "/train", name: "Train", key: "t", view: lazy(() => import("./views/train/TrainPage")) },
  { path: "/meta", name: "Meta", key: "m", view: lazy(() => import("./views/meta/MetaPage")) },
  { path: "/chat", name: "Chat", key: "c", view: lazy(() => import("./views/chat/ChatPage")) },
  { path: "/memory", name: "Memory", key: "y", view: lazy(() => import("./views/memory/MemoryPage")) },
  { path: "/sleep", name: "Sleep", key: "l", view: lazy(() => import("./views/sleep/SleepPage")) },
  { path: "/sessions", name: "Sessions", key: "e", view: lazy(() => import("./views/sessions/SessionsPage")) },
  { path: "/nano", name: "Nano", key: "n", view: lazy(() => import("./views/nano/NanoPage")) },
  { path: "/sentry", name: "Sentry", key: "s", view: lazy(() => import("./views/sentry/SentryPage")) },
  { path: "/redteam", name: "Red team", key: "r", view: lazy(() => import("./views/redteam/RedteamPage")) },
];
