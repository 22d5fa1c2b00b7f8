#!/usr/bin/env bash
# The tools of scripts/release.sh, as root on Debian: a linker and C compiler for each platform (zig), with the oldest
# supported glibc, in target/release_tools/bin; what makes root file systems and images, from Debian's packages.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo 'the tools of a release are installed as root, with apt-get' >&2
  exit 1
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  buildah mmdebstrap python3-venv skopeo >/dev/null
rustup target add x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu
venv=target/release_tools
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet cargo-zigbuild==0.24.1 ziglang==0.17.1
