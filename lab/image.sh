#!/usr/bin/env bash
# Runs an image of dist/ as a container would be, without a daemon: its layers in a directory that is read-only but for /data
# and /tmp, its entrypoint as process 1 of a namespace without a network, as its user. It must be healthy, find a block, end on
# SIGTERM, and go on with its data in a second container. As root; with qemu's binfmt also that of another architecture.
#   lab/image.sh [ARCHITECTURE]    amd64 or arm64; DIST is where the release is, if not in dist/
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/release/common.sh
[ "$(id -u)" = 0 ] || fail 'it needs root'
image=${DIST:-dist}/hstratum-image-$version-${1:-$(dpkg --print-architecture)}.tar.gz
[ -f "$image" ] || fail "there is no $image: make release"
address=rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u
stage=$(mktemp -d)
first=''
trap '[ -z "$first" ] || kill -KILL "$first" 2>/dev/null || true; rm -rf "$stage"' EXIT

mkdir "$stage"/{image,root,data}
tar --extract --file="$image" --directory="$stage/image"
config() { node -p "const {config} = JSON.parse(require('fs').readFileSync('$stage/image/' + $manifest.Config)); $1"; }
manifest="JSON.parse(require('fs').readFileSync('$stage/image/manifest.json'))[0]"
for layer in $(node -p "$manifest.Layers.join(' ')"); do
  tar --extract --file="$stage/image/$layer" --directory="$stage/root" --same-owner --same-permissions
done
user=$(config config.User)
mapfile -t environment < <(config 'config.Env.join("\n")')
mapfile -t entrypoint < <(config 'config.Entrypoint.join("\n")')
mapfile -t health < <(config 'config.Healthcheck.Test.slice(1).join("\n")')
chown "$user" "$stage/data"

# What precedes a command that runs as the image's user, in its files.
as_user=(chroot --userspec="$user" "$stage/root" /usr/bin/env -i "${environment[@]}" HSD_NETWORK=regtest
  HSD_COINBASE_ADDRESS=$address)

container() { # COMMAND...: beside process 1
  nsenter --target "$first" --mount --pid --net "${as_user[@]}" "$@"
}

start() {
  begun=$SECONDS
  unshare --mount --pid --net --fork --kill-child bash -euc '
    stage=$1
    shift
    ip link set lo up
    mount --bind -o ro "$stage/root" "$stage/root"
    mount -o remount,bind,ro "$stage/root"
    mount --bind "$stage/data" "$stage/root/data"
    mount -t tmpfs none "$stage/root/tmp"
    mount -t proc proc "$stage/root/proc"
    mount --rbind /dev "$stage/root/dev"
    exec "$@"
  ' bash "$stage" "${as_user[@]}" "${entrypoint[@]}" >"$stage/log" 2>&1 &
  outer=$!
  until first=$(pgrep --parent $outer) && container "${health[@]}" 2>/dev/null; do
    kill -0 $outer 2>/dev/null && [ $((SECONDS - begun)) -lt 300 ] || { cat "$stage/log"; fail 'it is not healthy'; }
    sleep 0.5
  done
  echo "healthy after $((SECONDS - begun)) s; process 1 is $(cat "/proc/$first/comm"), user $(stat -c %u "/proc/$first")"
}

mine() {
  begun=$SECONDS
  container timeout 600 hstratum mine --url stratum+tcp://127.0.0.1:3008 --user alice --threads 1 --blocks 1 >"$stage/mine" 2>&1 \
    || { cat "$stage/mine" "$stage/log"; fail 'no share was accepted'; }
  height=$((height + 1))
  # The share is answered and the block announced before the chain has it.
  until [ "$(container hsd-rpc getblockcount)" = $height ]; do
    [ $((SECONDS - begun)) -lt 600 ] || { cat "$stage/log"; fail "the chain has not $height blocks"; }
    sleep 0.2
  done
  echo "block $height after $((SECONDS - begun)) s: $(container hsd-rpc getbestblockhash)"
}

stop() {
  begun=$SECONDS
  kill -TERM "$first"
  code=0
  wait $outer || code=$?
  first=''
  [ "$code" = 0 ] || { cat "$stage/log"; fail "it ended with $code"; }
  echo "ended $((SECONDS - begun)) s after SIGTERM"
}

height=0
echo "$image: $(du -h --apparent-size "$image" | cut -f1), unpacked $(du -sh --apparent-size "$stage/root" | cut -f1)," \
  "layers $(du -h --apparent-size "$stage"/image/*.tar | awk '{printf "%s ", $1}')user $user"
for _ in one another; do
  start
  mine
  stop
done
written=$(cd "$stage/root" && find . -newer "$stage/image" -type f | wc -l)
[ "$written" = 0 ] || fail "it wrote $written files outside of its volume"
