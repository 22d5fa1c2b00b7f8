#!/usr/bin/env bash
# Copies a release's images, all its architectures under one name, to a registry, signs that by its digest with cosign,
# keylessly, and then names it `latest`. REGISTRY_USER and REGISTRY_PASSWORD may write there.
#   scripts/release/publish_image.sh DIRECTORY REPOSITORY VERSION
set -euo pipefail
[ $# = 3 ] || { echo 'publish_image.sh DIRECTORY REPOSITORY VERSION' >&2; exit 1; }
repository=$2 version=$3
images=("$1/hstratum-image-$version"-*.tar.gz)
[ -f "${images[0]}" ] || { echo "there is no ${images[0]}" >&2; exit 1; }
: "${REGISTRY_USER:?who may write to the registry}" "${REGISTRY_PASSWORD:?the password of REGISTRY_USER}"

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
# Where buildah and cosign both look.
export DOCKER_CONFIG=$stage REGISTRY_AUTH_FILE=$stage/config.json STORAGE_DRIVER=vfs
b() { buildah --root "$stage/storage" --runroot "$stage/run" "$@"; }

buildah login --username "$REGISTRY_USER" --password-stdin "${repository%%/*}" <<<"$REGISTRY_PASSWORD" >/dev/null
b manifest create hstratum >/dev/null
for image in "${images[@]}"; do
  gzip --decompress --stdout "$image" >"$stage/image.tar"
  b manifest add hstratum "docker-archive:$stage/image.tar" >/dev/null
  rm "$stage/image.tar"
done
push() { # TAG
  b manifest push --quiet --all --format v2s2 --digestfile "$stage/digest" hstratum "docker://$repository:$1" >/dev/null
}
push "$version"
digest=$(cat "$stage/digest")
cosign sign --yes "$repository@$digest"
push latest
[ "$(cat "$stage/digest")" = "$digest" ] || { echo "latest is $(cat "$stage/digest"), not $digest" >&2; exit 1; }
echo "$repository:$version is $digest"
