#!/usr/bin/env bash
# Installs what the tests need and runs all of them. What cannot run here is named at the end.
#   ./test.sh          under 15 minutes, setup included
#   ./test.sh --slow   the long counts too (kill loops, large corpora)
set -euo pipefail
cd "$(dirname "$0")"
export OMP_NUM_THREADS=1 # two test processes of two threads each collapse on two cores

select=(-m "not slow and not browser")
browser=(-m "browser and not slow")
case "${1:-}" in
  "") ;;
  --slow) select=(-m "not browser") browser=(-m "browser") ;;
  *) echo "usage: ./test.sh [--slow]" >&2; exit 2 ;;
esac

skipped=()
step() { printf '\n== %s\n' "$*"; }

step "setup"
scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"

step "ruff"
ruff check .
ruff format --check .

step "pyright"
pyright

node_ok=no
if command -v npm >/dev/null 2>&1 && [ "$(node -p 'Number(process.versions.node.split(".")[0]) >= 20')" = true ]; then
  node_ok=yes
  step "dashboard: install, types, unit tests"
  npm --prefix dashboard ci --no-audit --no-fund --loglevel=error
  npm --prefix dashboard run --silent check
  npm --prefix dashboard test --silent
  step "dashboard: the committed build and API client equal a rebuild"
  npm --prefix dashboard run --silent check:web
else
  skipped+=("dashboard types, unit tests and rebuild check: no Node >= 20 here")
fi

step "pytest"
pytest "${select[@]}"

chromium="$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)"
if [ "$node_ok" = yes ] && [ -n "$chromium" ]; then
  step "browser test ($chromium)"
  pytest "${browser[@]}" -n 0
else
  skipped+=("browser test: needs Node >= 20 and Chromium (Debian: apt-get install chromium)")
fi

step "done"
for what in ${skipped[@]+"${skipped[@]}"}; do
  echo "SKIPPED: $what"
done
echo "all checks that could run here have passed"
