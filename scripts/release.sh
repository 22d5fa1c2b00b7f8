#!/usr/bin/env bash
# Makes everything of a release, into dist/: docs/packaging.md says what that is.
#   scripts/release.sh [PLATFORM...]    of scripts/platforms.json; this machine's first
# A whole node and an image are made for platforms that are Debian's, the latter as root.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/release/common.sh
out=$PWD/dist
this=$(this_platform)
platforms=("${@:-$this}")
# The texts of the command are written by a program that runs here.
WRITER=$PWD/target/$(field "$this" triple)/release/hstratum
export WRITER

scripts/release/version.sh >/dev/null
section=$(awk -v title="## $version" '$1 " " $2 == title {found = 1; next} /^## / {found = 0} found' CHANGELOG.md)
for platform in "${platforms[@]}"; do
  field "$platform" zig >/dev/null
done

rm -rf "$out"
mkdir -p "$out"
echo "$section" >"$out/release-notes.md"
for platform in "${platforms[@]}"; do
  scripts/release/build.sh "$platform"
done
node scripts/dist.js --out "$out" "${platforms[@]}"
for platform in "${platforms[@]}"; do
  scripts/release/command_packages.sh "$out" "$platform"
  case $platform in
    linux-*-gnu)
      scripts/release/node.sh "$platform" "$out"
      scripts/release/image.sh "$out" "$platform"
      ;;
  esac
done
scripts/release/bill_of_materials.sh "$out"
scripts/release/write_installer.sh "$out"
(cd "$out" && sha256sum -- * >SHA256SUMS)
echo "$out/SHA256SUMS"
