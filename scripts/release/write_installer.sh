#!/usr/bin/env bash
# Writes the installer of this version, which accepts what the workflow of its release has signed.
#   scripts/release/write_installer.sh OUT [CERTIFICATES]    those of Sigstore, or of a test's own authority
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/release/common.sh
certificates=${2:-packaging/installer/sigstore.pem}
[ -d "${1:-}" ] && [ -f "$certificates" ] || fail 'write_installer.sh OUT [CERTIFICATES]: a directory and a file that are there'
sed -e "s|@VERSION@|$version|g" -e "s|@REPOSITORY@|$repository|g" \
  -e "/^@SIGSTORE@$/{
    r $certificates
    d
  }" packaging/installer/install.sh >"$1/install.sh"
chmod 755 "$1/install.sh"
echo "$1/install.sh"
