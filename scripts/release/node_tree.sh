#!/usr/bin/env bash
# Completes the tree of a whole node, whose lib/node_modules has hsd: with hstratum of the npm packages in OUT, Node.js of
# the directory NODE (bin/node, LICENSE), commands, and the service.
#   scripts/release/node_tree.sh TREE OUT PLATFORM NODE
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/release/common.sh
[ $# = 4 ] || fail 'node_tree.sh TREE OUT PLATFORM NODE'
tree=$1 out=$2 platform=$3 node=$4

unpack() { # PACKAGE DIRECTORY
  mkdir -p "$tree/lib/node_modules/$2"
  tar --extract --file="$out/$1-$version.tgz" --directory="$tree/lib/node_modules/$2" --strip-components=1
}
unpack hstratum hstratum
unpack "hstratum-$platform" "@hstratum/$platform"

install -D -m 755 "$node/bin/node" -t "$tree/bin"
for command in hsd hsd-cli hsd-rpc hsw-cli hsw-rpc; do
  file=hsd/bin/$command
  if [ $command = hsd ]; then file=hstratum/hsd_launcher.js; fi
  cat >"$tree/bin/$command" <<END
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")
exec "\$here/node" "\$here/../lib/node_modules/$file" "\$@"
END
  chmod 755 "$tree/bin/$command"
done
ln -s "../lib/node_modules/@hstratum/$platform/hstratum" "$tree/bin/hstratum"
install -D -m 644 packaging/systemd/hsd.service -t "$tree/share/systemd"
install -D -m 644 "$node/LICENSE" "$tree/share/licenses/node"
install -m 644 LICENSE "$tree/share/licenses/hstratum"
