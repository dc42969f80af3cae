#!/usr/bin/env bash
# Installs what is missing, then serves the API and the dashboard on one port and prints the URL.
# Options go to `fastweights up` (see `./start.sh --help`); environment: ARTIFACTS_ROOT, FASTWEIGHTS_HOST, FASTWEIGHTS_PORT.
set -euo pipefail
case "${ARTIFACTS_ROOT:-/}" in /*) ;; *) export ARTIFACTS_ROOT="$PWD/$ARTIFACTS_ROOT" ;; esac
cd "$(dirname "$0")"
scripts/setup.sh --runtime
exec .venv/bin/fastweights up "$@"
