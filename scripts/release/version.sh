#!/usr/bin/env bash
# Prints the version of this tree, if it can be released: Cargo.toml and plugin/package.json agree, the changelog has a
# section of it, and a tag, where one is given, is `v` and the version.
#   scripts/release/version.sh [TAG]
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() {
  echo "$1" >&2
  exit 1
}

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "Cargo.toml has version \"$version\", which is not of the form X.Y.Z"
plugin=$(node -p 'require("./plugin/package.json").version')
[ "$plugin" = "$version" ] || fail "Cargo.toml has version $version, plugin/package.json $plugin"
dependency=$(node -p 'require("./package.json").dependencies.hstratum')
[ "$dependency" = "$version" ] || fail "Cargo.toml has version $version, package.json depends on hstratum $dependency"
grep -A 1 -x 'name = "hstratum"' Cargo.lock | grep -qx "version = \"$version\"" \
  || fail "Cargo.lock has another version of hstratum than $version: cargo update --workspace"
locked=$(node -p 'require("./package-lock.json").packages.plugin.version')
[ "$locked" = "$version" ] || fail "Cargo.toml has version $version, package-lock.json $locked: npm install"
grep -qE "^## ${version//./\\.}( |$)" CHANGELOG.md || fail "CHANGELOG.md has no section \"## $version\""
[ $# = 0 ] || [ "$1" = "v$version" ] || fail "the tag is \"$1\", but the version is $version: its tag is v$version"
echo "$version"
