#!/usr/bin/env bash
# Tries the installer of dist/ in fresh systems of Debian, each booted with its own systemd in a namespace without a network:
# bad input, the first share, an upgrade, one that fails, a removal (lab/installer/inside.sh). As root; a minute or two each.
#   lab/installer.sh [SUITE...]    of Debian: bullseye, bookworm and trixie; or `here`, a copy of this system without systemd
# DIST is where the release is, if not in dist/.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/release/common.sh
[ "$(id -u)" = 0 ] || fail 'it needs root'
dist=${DIST:-dist}
platform=$(this_platform)
name=hstratum-node-$version-$platform
[ -f "$dist/$name.tar.gz" ] || fail "there is no $dist/$name.tar.gz: make release"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

# An authority of the test's own stands for Sigstore; another one has signed the same files too.
authority() { # DIRECTORY
  mkdir "$1"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=${1##*/}" -days 1 \
    -keyout "$1/authority.key" -out "$1/authority.pem" 2>/dev/null
}
authority "$stage/ours"
authority "$stage/theirs"

release() { # DIRECTORY VERSION: what is in dist/, as if it were that version
  mkdir -p "$stage/$1" "$stage/tree"
  tar --extract --file="$dist/$name.tar.gz" --directory="$stage/tree"
  [ "$2" = "$version" ] || mv "$stage/tree/$name" "$stage/tree/hstratum-node-$2-$platform"
  [ "$1" != broken ] || echo 'throw new Error("planted");' >"$stage/tree/hstratum-node-$2-$platform/lib/node_modules/hstratum/index.js"
  pack "$stage/$1/hstratum-node-$2-$platform.tar.gz" "$stage/tree" "hstratum-node-$2-$platform" >/dev/null
  rm -rf "$stage/tree"
  VERSION=$2 scripts/release/write_installer.sh "$stage/$1" "$stage/ours/authority.pem" >/dev/null
  (cd "$stage/$1" && sha256sum -- * >SHA256SUMS)
  sign "$1" "$2" ours
}
sign() { # DIRECTORY VERSION AUTHORITY
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj / -keyout "$stage/key" -out "$stage/request" 2>/dev/null
  printf 'subjectAltName=critical,URI:%s\n1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:https://token.actions.githubusercontent.com\n' \
    "$repository/.github/workflows/release.yml@refs/tags/v$2" >"$stage/extensions"
  openssl x509 -req -in "$stage/request" -CA "$stage/$3/authority.pem" -CAkey "$stage/$3/authority.key" -CAcreateserial -days 1 \
    -extfile "$stage/extensions" -out "$stage/$1/SHA256SUMS.pem" 2>/dev/null
  openssl dgst -sha256 -sign "$stage/key" -out "$stage/$1/SHA256SUMS.sig" "$stage/$1/SHA256SUMS"
}
release release "$version"
release next 0.1.1
release broken 0.1.2
cp -r "$stage/release" "$stage/tampered"
printf x >>"$stage/tampered/$name.tar.gz"
cp -r "$stage/release" "$stage/other"
sign other "$version" theirs
cp "$stage/theirs/authority.pem" "$stage/other/"
mkdir "$stage/tools"
tar --extract --file="$dist/$name.tar.gz" --directory="$stage/tools" --strip-components=2 "$name/bin/node"
cp lab/installer/* "$stage/tools/"

directories='release next broken tampered other tools out'

# A copy of this system, in namespaces of its own, that is written to in memory only.
run_here() {
  # shellcheck disable=SC2016
  unshare --mount --net --pid --fork --kill-child bash -euc '
    stage=$1
    ip link set lo up
    mount -t tmpfs none /mnt
    mkdir -p /mnt/upper /mnt/work /mnt/root
    mount -t overlay none -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
    mount -t proc none /mnt/root/proc
    mount --rbind /dev /mnt/root/dev
    for directory in run tmp opt; do mount -t tmpfs none "/mnt/root/$directory"; done
    rm -rf /mnt/root/etc/systemd/system/hsd.service*
    for directory in $2; do
      mkdir -p "/mnt/root/$directory"
      mount --bind "$stage/$directory" "/mnt/root/$directory"
    done
    exec setsid env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      chroot /mnt/root sh -c "sh /tools/inside.sh >/out/log 2>&1; echo \$? >/out/code"
  ' bash "$stage" "$directories" </dev/null || true
}

# A fresh Debian, booted.
run_suite() {
  local root=$PWD/target/roots/$1 binds=() directory
  if [ ! -d "$root" ]; then
    need mmdebstrap mmdebstrap
    mkdir -p target/roots
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,curl,ca-certificates "$1" "$root.new"
    mv "$root.new" "$root"
  fi
  need systemd-nspawn systemd-container
  cat >"$root/etc/systemd/system/try.service" <<END
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sh /tools/inside.sh >/out/log 2>&1; echo \$? >/out/code'
ExecStopPost=systemctl poweroff --no-block
TimeoutStartSec=900
END
  ln -sfn ../try.service "$root/etc/systemd/system/multi-user.target.wants/try.service"
  for directory in $directories; do
    binds+=(--bind="$stage/$directory:/$directory")
  done
  timeout 1000 systemd-nspawn --quiet --directory="$root" --volatile=overlay --boot --private-network --register=no \
    --keep-unit "${binds[@]}" </dev/null >"$stage/console" 2>&1 || true
}

[ $# -gt 0 ] || set -- bullseye bookworm trixie
for suite; do
  mkdir -p "$stage/out"
  case $suite in
    here) run_here ;;
    *) run_suite "$suite" ;;
  esac
  cat "$stage/out/log"
  [ "$(cat "$stage/out/code")" = 0 ] || fail "$suite: the installer did not pass"
  rm -r "$stage/out"
done
