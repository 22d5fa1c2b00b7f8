#!/usr/bin/env bash
# Tries the installer of dist/ in fresh systems of Debian, each booted with its own systemd in a namespace without a network:
# bad input, the first share, an upgrade, one that fails, a removal (lab/installer/inside.sh). As root; a minute or two each.
#   lab/installer.sh [SUITE...]    of Debian: bullseye, bookworm and trixie
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/release/common.sh
need mmdebstrap mmdebstrap
need systemd-nspawn systemd-container
[ "$(id -u)" = 0 ] || fail 'it needs root'
name=hstratum-node-$version-linux-x64-gnu
[ -f "dist/$name.tar.gz" ] || fail "there is no dist/$name.tar.gz: make release"
stage=$(mktemp -d -p target)
stage=$PWD/$stage
trap 'rm -rf "$stage"' EXIT

# An authority of the test's own stands for Sigstore.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=test-authority -days 1 \
  -keyout "$stage/authority.key" -out "$stage/authority.pem" 2>/dev/null
repository=$(sed -n 's/^repository = "\(.*\)"$/\1/p' Cargo.toml)

release() { # DIRECTORY VERSION: what is in dist/, as if it were that version
  mkdir -p "$stage/$1" "$stage/tree"
  tar --extract --file="dist/$name.tar.gz" --directory="$stage/tree"
  [ "$2" = "$version" ] || mv "$stage/tree/$name" "$stage/tree/hstratum-node-$2-linux-x64-gnu"
  [ "$1" != broken ] || echo 'throw new Error("planted");' >"$stage/tree/hstratum-node-$2-linux-x64-gnu/lib/node_modules/hstratum/index.js"
  pack "$stage/$1/hstratum-node-$2-linux-x64-gnu.tar.gz" "$stage/tree" "hstratum-node-$2-linux-x64-gnu" >/dev/null
  rm -rf "$stage/tree"
  VERSION=$2 scripts/release/installer.sh "$stage/$1" "$stage/authority.pem" >/dev/null
  (cd "$stage/$1" && sha256sum -- * >SHA256SUMS)
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj / -keyout "$stage/key" -out "$stage/request" 2>/dev/null
  printf 'subjectAltName=critical,URI:%s\n1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:https://token.actions.githubusercontent.com\n' \
    "$repository/.github/workflows/release.yml@refs/tags/v$2" >"$stage/extensions"
  openssl x509 -req -in "$stage/request" -CA "$stage/authority.pem" -CAkey "$stage/authority.key" -CAcreateserial -days 1 \
    -extfile "$stage/extensions" -out "$stage/$1/SHA256SUMS.pem" 2>/dev/null
  openssl dgst -sha256 -sign "$stage/key" -out "$stage/$1/SHA256SUMS.sig" "$stage/$1/SHA256SUMS"
}
release release "$version"
release next 0.1.1
release broken 0.1.2
cp -r "$stage/release" "$stage/tampered"
printf x >>"$stage/tampered/$name.tar.gz"
mkdir "$stage/tools"
tar --extract --file="dist/$name.tar.gz" --directory="$stage/tools" --strip-components=2 "$name/bin/node"
cp lab/installer/* "$stage/tools/"

[ $# -gt 0 ] || set -- bullseye bookworm trixie
for suite; do
  root=$PWD/target/roots/$suite
  if [ ! -d "$root" ]; then
    mkdir -p target/roots
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,curl,ca-certificates "$suite" "$root.new"
    mv "$root.new" "$root"
  fi
  mkdir -p "$stage/out-$suite"
  cat >"$root/etc/systemd/system/try.service" <<END
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sh /tools/inside.sh >/out/log 2>&1; echo \$? >/out/code'
ExecStopPost=systemctl poweroff --no-block
TimeoutStartSec=900
END
  ln -sfn ../try.service "$root/etc/systemd/system/multi-user.target.wants/try.service"
  binds=()
  for directory in release next broken tampered tools; do
    binds+=(--bind-ro="$stage/$directory:/$directory")
  done
  timeout 1000 systemd-nspawn --quiet --directory="$root" --volatile=overlay --boot --private-network --register=no \
    --keep-unit --bind="$stage/out-$suite:/out" "${binds[@]}" </dev/null >"$stage/out-$suite/console" 2>&1 || true
  cat "$stage/out-$suite/log"
  [ "$(cat "$stage/out-$suite/code")" = 0 ] || fail "$suite: the installer did not pass"
done
