#!/usr/bin/env bash
# Gets what builds for other systems: zig as compiler of C and linker, and the standard library of a Rust target.
#   scripts/release/build_tools.sh TRIPLE
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/release/common.sh
[ $# = 1 ] || fail 'build_tools.sh TRIPLE'
need python3 python3
if [ ! -x "$tools/bin/zig" ]; then
  python3 -m venv "$tools" || fail 'python3 has no venv: apt-get install python3-venv'
  "$tools/bin/pip" install --quiet ziglang==0.17.1 cargo-zigbuild==0.24.1
  ln -s "$(echo "$tools"/lib/python3*/site-packages/ziglang/zig)" "$tools/bin/zig"
fi
if [ ! -d "$(rustc --print target-libdir --target "$1")" ]; then
  rustup target add "$1" || fail "rustc has no standard library for $1, and rustup does not get it"
fi
