#!/usr/bin/env bash
# Packages of the command alone, with its manual pages, shell completions, the proxy's systemd unit and examples:
# a tarball, and a Debian package where the platform is one of Debian's.
#   scripts/release/command_packages.sh OUT [PLATFORM]    without a platform, what `make build` built here
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/release/common.sh
[ $# -ge 1 ] || fail 'command_packages.sh OUT [PLATFORM]'
out=$1
platform=${2:-$(this_platform)}
binary=target/release/hstratum
[ $# -lt 2 ] || binary=target/$(field "$platform" triple)/release/hstratum
# Writes the texts: a program of this machine.
writer=${WRITER:-$binary}
name=hstratum-$version-$platform
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
tree=$stage/$name

install -D -m 755 "$binary" -t "$tree/bin"
[ $# -eq 2 ] || strip "$tree/bin/hstratum"
"$writer" man "$tree/share/man/man1"
completions() { # SHELL FILE
  mkdir -p "$tree/share/$(dirname "$2")"
  "$writer" completions "$1" >"$tree/share/$2"
}
completions bash bash-completion/completions/hstratum
completions zsh zsh/vendor-completions/_hstratum
completions fish fish/vendor_completions.d/hstratum.fish
install -D -m 644 docs/*.md LICENSE -t "$tree/share/doc/hstratum"
mkdir "$tree/share/doc/hstratum/examples"
cp -r packaging/examples/. packaging/systemd/*.service "$tree/share/doc/hstratum/examples/"
mkdir -p "$out"
pack "$out/$name.tar.gz" "$stage" "$name"

architecture=$(node -p "require('./scripts/platforms.json')['$platform'].debian || ''")
[ -n "$architecture" ] || exit 0
need dpkg-deb dpkg-dev
need readelf binutils
debian=$stage/debian
mkdir -p "$debian/DEBIAN"
cp -r "$tree" "$debian/usr"
gzip -n9 "$debian"/usr/share/man/man1/*
mv "$debian/usr/share/doc/hstratum/LICENSE" "$debian/usr/share/doc/hstratum/copyright"
install -D -m 644 packaging/systemd/hstratum-proxy.service -t "$debian/lib/systemd/system"
# The least version of glibc is the newest that the binary's symbols name.
glibc=$(readelf --dyn-syms --wide "$debian/usr/bin/hstratum" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
cat >"$debian/DEBIAN/control" <<END
Package: hstratum
Version: $version
Architecture: $architecture
Maintainer: hstratum maintainers <hstratum@localhost>
Installed-Size: $(du -sk --apparent-size "$debian" | cut -f1)
Depends: libc6 (>= ${glibc#GLIBC_}), libgcc-s1
Section: net
Priority: optional
Description: tools for Handshake stratum mining
 A proxy, a CPU miner, payouts, a ledger's upkeep and a doctor for hstratum,
 the stratum server that runs inside an hsd full node.
END
find "$debian" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group --build "$debian" "$out/hstratum_${version}_$architecture.deb" >/dev/null
echo "$out/hstratum_${version}_$architecture.deb"
