#!/usr/bin/env bash
# Copies a release's image, all its platforms, to a registry, signs it by its digest with cosign, keylessly, and then names
# it `latest`. REGISTRY_USER and REGISTRY_PASSWORD may write there.
#   scripts/release/publish_image.sh ARCHIVE REPOSITORY VERSION
set -euo pipefail
[ $# = 3 ] || { echo 'publish_image.sh ARCHIVE REPOSITORY VERSION' >&2; exit 1; }
archive=$1 repository=$2 version=$3
[ -f "$archive" ] || { echo "there is no image at $archive" >&2; exit 1; }
: "${REGISTRY_USER:?who may write to the registry}" "${REGISTRY_PASSWORD:?the password of REGISTRY_USER}"

# Where skopeo and cosign both look.
DOCKER_CONFIG=$(mktemp -d)
export DOCKER_CONFIG REGISTRY_AUTH_FILE=$DOCKER_CONFIG/config.json
trap 'rm -rf "$DOCKER_CONFIG"' EXIT
skopeo login --username "$REGISTRY_USER" --password-stdin "${repository%%/*}" <<<"$REGISTRY_PASSWORD" >/dev/null
copy() {
  skopeo copy --quiet --all --preserve-digests --digestfile "$DOCKER_CONFIG/digest" "oci-archive:$archive" "docker://$repository:$1"
}
copy "$version"
digest=$(cat "$DOCKER_CONFIG/digest")
cosign sign --yes "$repository@$digest"
copy latest
echo "$repository:$version is $digest"
