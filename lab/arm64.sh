#!/usr/bin/env bash
# Tests of the core, and of the ledger's store on SQLite, as programs for ARM64, which qemu runs. Of Debian's packages it
# needs mmdebstrap and qemu-user-static.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/release/common.sh
need mmdebstrap mmdebstrap
need qemu-aarch64-static qemu-user-static
root=$PWD/target/roots/arm64-libraries
if [ ! -d "$root" ]; then
  mkdir -p target/roots
  mmdebstrap --quiet --variant=extract --architectures=arm64 --include=libc6,libgcc-s1 bookworm "$root.new"
  mv "$root.new" "$root"
fi
scripts/release/build_tools.sh aarch64-unknown-linux-gnu
export PATH=$tools/bin:$PATH CARGO_INCREMENTAL=0
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L $root"
run() { cargo-zigbuild test --locked --target aarch64-unknown-linux-gnu.2.28 "$@"; }
run --package hstratum-core
run --package hstratum --lib -- store:: sql::
run --package hstratum --test it -- store::
