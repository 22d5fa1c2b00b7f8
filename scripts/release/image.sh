#!/usr/bin/env bash
# Makes hstratum-image-VERSION-ARCHITECTURE.tar.gz: an image with the whole node in it, which `docker load` and
# `podman load` take. Layers: packages of Debian, unpacked only, so that no program of theirs runs; the node's tree; /data.
# Its configuration is packaging/image/config.json. No daemon, and the same bytes for the same packages.
#   scripts/release/image.sh OUT PLATFORM    as root; OUT has the platform's node
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/release/common.sh
[ $# = 2 ] || fail 'image.sh OUT PLATFORM'
out=$(realpath "$1")
platform=$2
architecture=$(field "$platform" debian)
name=hstratum-node-$version-$platform
need mmdebstrap mmdebstrap
[ "$(id -u)" = 0 ] || fail 'the image needs root: its files belong to root'
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
base=$stage/base
image=$stage/image
mkdir "$image" "$stage/opt"

mmdebstrap --quiet --variant=extract --architectures="$architecture" \
  --include=base-files,busybox-static,libc6,libgcc-s1,libstdc++6,tini trixie "$base"
rm -rf "$base"/usr/{share/{doc,info,locale,man,lintian,bug},lib/*/{gconv,audit},include}
rm -rf "$base"/{etc/apt,etc/ld.so.cache,var/cache/*,var/lib/apt}
for command in sh cat dirname env grep id ls mkdir readlink sleep wget; do
  ln -s busybox "$base/usr/bin/$command"
done
install -m 755 packaging/image/entrypoint -t "$base/usr/bin"
cp packaging/image/{passwd,group,nsswitch.conf} "$base/etc/"
mkdir -p "$base/data" "$base/tmp"
chmod 1777 "$base/tmp"
tar --extract --file="$out/$name.tar.gz" --directory="$stage/opt"
mv "$stage/opt/$name" "$stage/opt/hstratum"

layer() { # NAME DIRECTORY [OPTIONS of tar]
  tar --create --directory="$2" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --format=gnu "${@:3}" \
    >"$image/$1.tar"
}
layer base "$base" --owner=0 --group=0 --exclude=./data .
layer node "$stage" --owner=0 --group=0 opt
# Whoever mounts nothing there has a directory of the image's user.
layer data "$base" --owner=1000 --group=1000 data

node -e '
  const {createHash} = require("crypto");
  const {readFileSync, writeFileSync} = require("fs");
  const [image, architecture, version, created] = process.argv.slice(1);
  const layers = ["base.tar", "node.tar", "data.tar"];
  const config = JSON.parse(readFileSync("packaging/image/config.json", "utf8"));
  config.Labels["org.opencontainers.image.version"] = version;
  const digest = data => createHash("sha256").update(data).digest("hex");
  const text = JSON.stringify({
    architecture, os: "linux", created, config,
    rootfs: {type: "layers", diff_ids: layers.map(name => `sha256:${digest(readFileSync(`${image}/${name}`))}`)},
    history: layers.map(name => ({created, created_by: name}))
  });
  writeFileSync(`${image}/${digest(text)}.json`, text);
  writeFileSync(`${image}/manifest.json`, JSON.stringify([{
    Config: `${digest(text)}.json`, RepoTags: [`ghcr.io/hstratum/hstratum:${version}`], Layers: layers
  }]));
' "$image" "$architecture" "$version" "$(date --utc --date="@$SOURCE_DATE_EPOCH" +%FT%TZ)"
cd "$image"
pack "$out/hstratum-image-$version-$architecture.tar.gz" "$image" *
