// `npm run e2e`: the dashboard in a real Chromium against a real server. One line a step; exit code 1 at the first failure.
import * as chat from "./chat.mjs";
import { openPage, same, shot, startBrowser, startServer } from "./harness.mjs";
import { keyboard, narrow, themes } from "./page.mjs";
import * as memory from "./memory.mjs";
import * as meta from "./meta.mjs";
import * as nano from "./nano.mjs";
import * as redteam from "./redteam.mjs";
import * as sessions from "./sessions.mjs";
import * as sentry from "./sentry.mjs";
import * as sleep from "./sleep.mjs";
import * as train from "./train.mjs";

const began = Date.now();
const server = await startServer();
let browser;
let page;
const toldToStop = new Promise((_, reject) => process.once("SIGTERM", () => reject(new Error("told to stop"))));
toldToStop.catch(() => undefined);
try {
  browser = await startBrowser();
  page = await openPage(browser, { url: server.url });
  const steps = [
    redteam.redteamEmpty,
    redteam.redteamStartAndCancel,
    redteam.redteamBegins,
    train.trainEmpty,
    train.trainTwentySteps,
    train.trainCancelAndResume,
    train.trainRefused,
    memory.memoryUnknown,
    sleep.sleepEmpty,
    meta.metaEmpty,
    meta.metaRun,
    meta.metaLooks,
    meta.metaCost,
    chat.chatFirstTurn,
    chat.chatReload,
    chat.chatCompare,
    chat.chatStop,
    chat.chatStopUnread,
    chat.chatFrozen,
    chat.chatForkResetLog,
    chat.chatForget,
    chat.chatBlame,
    chat.chatStrictGuard,
    memory.memoryMeter,
    sessions.sessionsTree,
    sessions.sessionsVerbs,
    sessions.sessionsCompare,
    sessions.sessionsStay,
    nano.nanoRun,
    nano.nanoLineage,
    nano.nanoRevert,
    nano.nanoWeights,
    nano.nanoTransactions,
    nano.nanoPhysics,
    nano.nanoArchitecture,
    nano.nanoThemes,
    sleep.sleepRun,
    sleep.sleepDecide,
    sentry.sentryEmpty,
    sentry.sentryDemo,
    sentry.sentryReload,
    sentry.sentryCompare,
    sentry.sentryFile,
    redteam.redteamReport,
    keyboard, // ends in a chat, where themes begins
    themes,
  ];
  for (const step of steps) {
    const start = Date.now();
    await Promise.race([step(page), toldToStop]);
    same(page.complaints.join("\n"), "", "complaints of the console");
    console.log(`ok ${step.name} ${((Date.now() - start) / 1000).toFixed(1)} s`);
  }
  await Promise.race([narrow(browser, server.url), toldToStop]);
  console.log(`ok narrow\nall passed in ${((Date.now() - began) / 1000).toFixed(1)} s`);
} catch (error) {
  console.error(error instanceof Error ? error.stack : error);
  if (page) {
    await shot(page, "failure").catch(() => undefined);
    console.error(`at ${page.url()}\n${page.complaints.join("\n")}`);
  }
  process.exitCode = 1;
} finally {
  redteam.stopAttack();
  await browser?.close();
  await server.stop();
}
