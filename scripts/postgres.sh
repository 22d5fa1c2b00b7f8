#!/usr/bin/env bash
# PostgreSQL's programs for the tests, where there are none: from Debian's packages, as root. The tests
# start servers of their own; the package's own server is not made.
set -euo pipefail
if command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
  exit
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo 'the tests need PostgreSQL: install the package postgresql, or have initdb, postgres and psql in PATH' >&2
  exit 1
fi
apt-get update -qq
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
  echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null
