import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { notices } from "./scripts/notices.mjs";

const api = process.env.VITE_NANO_API_URL ?? "http://127.0.0.1:13579";

export default defineConfig({
  plugins: [react(), notices()],
  build: {
    outDir: process.env.FASTWEIGHTS_WEB_OUT ?? "../src/fastweights/_web",
    emptyOutDir: true,
    target: "es2022",
    reportCompressedSize: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    port: 5173,
    proxy: {
      "/api": { target: api, changeOrigin: true },
      "/openapi.json": { target: api, changeOrigin: true },
      "/docs": { target: api, changeOrigin: true },
    },
  },
});
