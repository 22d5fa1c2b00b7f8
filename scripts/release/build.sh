#!/usr/bin/env bash
# Builds the command and the addon for a platform into target/TRIPLE/release: for glibc 2.28 and newer where the
# platform has glibc, without symbols, and the same bytes wherever a commit is built with one compiler.
#   scripts/release/build.sh PLATFORM
# zig links, and compiles what is C, so that nothing of this machine's C library gets in.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/release/common.sh
[ $# = 1 ] || fail 'build.sh PLATFORM'
platform=$1
triple=$(field "$platform" triple)
zig=$(field "$platform" zig)

scripts/release/build_tools.sh "$triple"
export PATH=$tools/bin:$PATH CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_DEBUG=none
# Messages of a panic name the source by its path.
flags="--remap-path-prefix=$PWD=/hstratum"$'\x1f'"--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"

build() { # FLAG PACKAGE...
  CARGO_ENCODED_RUSTFLAGS=$flags${1:+$'\x1f'$1} cargo zigbuild --locked --release --target "$triple$glibc" "${@:2}"
}

glibc=
case $zig in
  *-musl)
    # The command is static; an addon shares the C library of the Node.js that loads it.
    build '' --package hstratum-cli
    build -Ctarget-feature=-crt-static --package hstratum-addon
    exit
    ;;
  *-gnu.*) glibc=${zig##*-gnu} ;;
esac
build '' --package hstratum-cli --package hstratum-addon
