#!/usr/bin/env bash
# Chromium for the dashboard's tests, where there is none: from Debian's packages, as root.
set -euo pipefail
if command -v chromium >/dev/null || [ -n "${CHROMIUM:-}" ]; then
  exit
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo 'the tests need Chromium: install the package chromium, or name one in CHROMIUM' >&2
  exit 1
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  chromium fonts-dejavu-core >/dev/null
