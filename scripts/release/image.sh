#!/usr/bin/env bash
# Makes hstratum-image-VERSION-ARCHITECTURE.tar.gz: an image with the whole node in it, which `docker load` and
# `podman load` take. A base of Debian's packages, which nothing runs to install, and the node's tree above it.
#   scripts/release/image.sh OUT PLATFORM    as root; OUT has the platform's node
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/release/common.sh
out=$(realpath "$1")
platform=$2
architecture=$(field "$platform" debian)
name=hstratum-node-$version-$platform
image=$out/hstratum-image-$version-$architecture.tar.gz
need mmdebstrap mmdebstrap
need buildah buildah
[ "$(id -u)" = 0 ] || fail 'the image needs root: mmdebstrap unpacks files of others'
stage=$(mktemp -d -p target)
stage=$PWD/$stage
export BUILDAH_FORMAT=docker STORAGE_DRIVER=vfs
storage=(--root "$stage/storage" --runroot "$stage/run")
trap 'rm -rf "$stage"' EXIT

mmdebstrap --quiet --variant=extract --architectures="$architecture" \
  --include=base-files,busybox-static,libc6,libgcc-s1,libstdc++6,tini trixie "$stage/base"
rm -rf "$stage"/base/usr/{share/{doc,info,locale,man,lintian,bug},lib/*/{gconv,audit},include} "$stage"/base/{etc/apt,var/cache/apt,var/lib/apt}
mkdir -p "$stage/base/data" "$stage/base/tmp"
chmod 1777 "$stage/base/tmp"
chown 1000:1000 "$stage/base/data"
cp packaging/image/{passwd,group,nsswitch.conf} "$stage/base/etc/"
for command in sh cat dirname env ls mkdir readlink sleep wget; do
  ln -s busybox "$stage/base/usr/bin/$command"
done

mkdir "$stage/node"
tar --extract --file="$out/$name.tar.gz" --directory="$stage/node"

layer() { # FROM SOURCE TARGET
  container=$(buildah "${storage[@]}" from --arch "$architecture" "$1")
  buildah "${storage[@]}" add --quiet "$container" "$2" "$3" >/dev/null
}
commit() { # NAME
  buildah "${storage[@]}" commit --quiet --timestamp "$SOURCE_DATE_EPOCH" --rm "$container" "$1" >/dev/null
}
layer scratch "$stage/base" /
commit base
layer localhost/base "$stage/node/$name" /opt/hstratum
buildah "${storage[@]}" config --user 1000:1000 --workingdir /data --volume /data \
  --env PATH=/opt/hstratum/bin:/usr/bin --env HSD_PREFIX=/data --env HSD_PLUGINS=hstratum \
  --env HSD_STRATUM_HTTP_HOST=0.0.0.0 \
  --port 3008 --port 3080 --port 12038 --stop-signal SIGTERM \
  --entrypoint '["/usr/bin/tini", "--", "hsd"]' \
  --healthcheck 'CMD wget -q -O /dev/null http://127.0.0.1:3080/' --healthcheck-start-period 60s \
  --label org.opencontainers.image.title=hstratum --label "org.opencontainers.image.version=$version" \
  --label org.opencontainers.image.source=https://github.com/hstratum/hstratum \
  --label org.opencontainers.image.licenses=MIT "$container"
commit "ghcr.io/hstratum/hstratum:$version"
buildah "${storage[@]}" push --quiet "ghcr.io/hstratum/hstratum:$version" \
  "docker-archive:$stage/image.tar:ghcr.io/hstratum/hstratum:$version"
gzip --no-name -9 <"$stage/image.tar" >"$image.new"
mv "$image.new" "$image"
echo "$image  $(du -h --apparent-size "$image" | cut -f1)"
