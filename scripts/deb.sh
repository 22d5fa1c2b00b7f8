#!/usr/bin/env bash
# Writes a Debian package of the binary into a directory: the command, its manual pages and shell
# completions, the proxy's systemd unit, and the examples.
#   scripts/deb.sh [DIR]
set -euo pipefail

cd "$(dirname "$0")/.."
out=${1:-dist}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
architecture=$(dpkg --print-architecture)
binary=target/release/hstratum
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

install -D -s -m 755 $binary "$stage/usr/bin/hstratum"
install -D -m 644 packaging/systemd/hstratum-proxy.service -t "$stage/lib/systemd/system"
install -D -m 644 packaging/systemd/hsd.service -t "$stage/usr/share/doc/hstratum/examples"
cp -r packaging/examples/. "$stage/usr/share/doc/hstratum/examples/"
install -D -m 644 LICENSE "$stage/usr/share/doc/hstratum/copyright"
install -D -m 644 docs/*.md -t "$stage/usr/share/doc/hstratum"

$binary man "$stage/usr/share/man/man1"
gzip -n9 "$stage"/usr/share/man/man1/*
mkdir -p "$stage/usr/share/bash-completion/completions" "$stage/usr/share/zsh/vendor-completions" \
  "$stage/usr/share/fish/vendor_completions.d"
$binary completions bash >"$stage/usr/share/bash-completion/completions/hstratum"
$binary completions zsh >"$stage/usr/share/zsh/vendor-completions/_hstratum"
$binary completions fish >"$stage/usr/share/fish/vendor_completions.d/hstratum.fish"

# The least version of glibc is the newest that the binary's symbols name.
glibc=$(objdump -T "$stage/usr/bin/hstratum" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
mkdir "$stage/DEBIAN"
cat >"$stage/DEBIAN/control" <<END
Package: hstratum
Version: $version
Architecture: $architecture
Maintainer: hstratum maintainers <hstratum@localhost>
Installed-Size: $(du -sk "$stage" | cut -f1)
Depends: libc6 (>= ${glibc#GLIBC_}), libgcc-s1
Section: net
Priority: optional
Description: tools for Handshake stratum mining
 A proxy, a CPU miner, payouts, a ledger's upkeep and a doctor for hstratum,
 the stratum server that runs inside an hsd full node.
END

mkdir -p "$out"
dpkg-deb --root-owner-group --build "$stage" "$out/hstratum_${version}_$architecture.deb"
