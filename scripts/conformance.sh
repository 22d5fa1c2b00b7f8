#!/usr/bin/env bash
# Checks with schemathesis, from PyPI, that a running dashboard answers as its OpenAPI document says:
#   URL   http://127.0.0.1:3080, say
set -euo pipefail
cd "$(dirname "$0")/.."
url=${URL:-http://127.0.0.1:3080}
venv=target/schemathesis
if [ ! -x "$venv/bin/st" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet schemathesis==4.32.5
fi
# It writes its notes to the working directory.
cd "$venv"
# The stream of events never ends.
exec bin/st run "$url/api/v1/openapi.json" --url "$url" --exclude-path /api/v1/events \
  --max-examples "${EXAMPLES:-50}" --seed "${SEED:-1}" --suppress-health-check all
