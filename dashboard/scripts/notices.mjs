// A Vite plugin: third-party.txt, the licence of every package whose code or fonts are in the build.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FONTS = ["@fontsource-variable/ibm-plex-sans", "@fontsource/ibm-plex-mono"];

function folderOf(id) {
  const hit = id.match(/^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/);
  return hit?.[0];
}

function notice(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file ? readFileSync(join(folder, file), "utf8").replaceAll("\r\n", "\n").trim() : "(the package holds no licence file)";
  return { name, text: `${name} ${version} (${license})\n\n${text}\n` };
}

export function notices() {
  let root = "";
  return {
    name: "third-party-notices",
    apply: "build",
    configResolved(config) {
      root = config.root;
    },
    generateBundle(_, bundle) {
      const folders = new Set(FONTS.map((name) => join(root, "node_modules", name)));
      for (const chunk of Object.values(bundle)) {
        for (const id of Object.keys(chunk.modules ?? {})) {
          const folder = folderOf(id.replace(/^\0/, "").split("?")[0]);
          if (folder && existsSync(join(folder, "package.json"))) folders.add(folder);
        }
      }
      const all = [...folders].map(notice).sort((a, b) => (a.name < b.name ? -1 : 1));
      this.emitFile({ type: "asset", fileName: "third-party.txt", source: all.map((entry) => entry.text).join(`\n${"-".repeat(80)}\n\n`) });
    },
  };
}
