// Builds into a temporary folder and compares it, byte for byte, with the committed build in src/fastweights/_web.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const committed = fileURLToPath(new URL("../../src/fastweights/_web", import.meta.url));
const out = mkdtempSync(join(tmpdir(), "fastweights-web-"));

function files(folder) {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true });
  return names
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

try {
  const vite = join(root, "node_modules/vite/bin/vite.js");
  const done = spawnSync(process.execPath, [vite, "build", "--logLevel", "error"], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, FASTWEIGHTS_WEB_OUT: out },
  });
  if (done.status !== 0) process.exit(done.status ?? 1);
  const [built, kept] = [files(out), files(committed)];
  const wrong = [
    ...built.filter((name) => !kept.includes(name)).map((name) => `missing from the committed build: ${name}`),
    ...kept.filter((name) => !built.includes(name)).map((name) => `left over in the committed build: ${name}`),
    ...built
      .filter((name) => kept.includes(name))
      .filter((name) => !readFileSync(join(out, name)).equals(readFileSync(join(committed, name))))
      .map((name) => `differs: ${name}`),
  ];
  if (wrong.length) {
    console.error(`${wrong.join("\n")}\nrun \`npm run build\` in dashboard/ and commit src/fastweights/_web`);
    process.exitCode = 1;
  } else {
    console.log(`src/fastweights/_web equals a rebuild (${built.length} files)`);
  }
} finally {
  rmSync(out, { recursive: true, force: true });
}
