#!/usr/bin/env bash
# Checks with schemathesis, from PyPI, that the HTTP API answers as its OpenAPI document says:
#   URL       a running dashboard, http://127.0.0.1:3080 say, asked as a stranger; else nodes of its own, asked as
#             every kind of user (lab/conformance.js), in three to five minutes
#   EXAMPLES  made-up requests for each operation, besides those at the limits of what its schema allows; 10
#   SEED      of what is made up; 1
set -euo pipefail
cd "$(dirname "$0")/.."
venv=target/schemathesis
if [ ! -x "$venv/bin/st" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet schemathesis==4.32.5
fi
[ -n "${URL:-}" ] || exec node lab/conformance.js
# It writes its notes to the working directory.
cd "$venv"
# The stream of events never ends.
exec bin/st run "$URL/api/v1/openapi.json" --url "$URL" --exclude-path /api/v1/events \
  --max-examples "${EXAMPLES:-10}" --seed "${SEED:-1}" --generation-database none \
  --suppress-health-check all --continue-on-failure "$@"
