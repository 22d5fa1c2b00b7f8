#!/usr/bin/env bash
# What a release's installer leaves, by the packages of npm in dist/: installed.sh ADDRESS
set -euo pipefail
npm install --global --allow-scripts=bcrypto,bdb,goosig ./dist/*.tgz
useradd --system --home-dir /var/lib/hsd --shell /usr/sbin/nologin hsd
install -d -o hsd -g hsd -m 0700 /var/lib/hsd
echo "coinbase-address: $1" >/var/lib/hsd/hsd.conf
cp packaging/systemd/hsd.service /etc/systemd/system/
systemctl enable --now hsd
until hsd-rpc --prefix=/var/lib/hsd getstratuminfo >/dev/null 2>&1; do sleep 0.3; done
