#!/usr/bin/env bash
# Makes hstratum-node-VERSION-PLATFORM.tar.gz: hsd with hstratum in it and the Node.js that runs it, for a machine
# that has glibc 2.28 and nothing else. What packaging/node/package-lock.json names is taken by its checksum.
#   scripts/release/node.sh PLATFORM OUT [NODE]    OUT has the platform's npm packages
# NODE is a directory with another Node.js (bin/node, include, LICENSE) than that of packaging/node: lab/musl.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/release/common.sh
[ $# = 2 ] || [ $# = 3 ] || fail 'node.sh PLATFORM OUT [NODE]'
platform=$1
out=$(realpath "$2")
zig=$(field "$platform" zig)
node=${3:-}
cpu=$(node -p "require('./scripts/platforms.json')['$platform'].npm.cpu[0]")
stage=$PWD/target/release-node
name=hstratum-node-$version-$platform
tree=$stage/$name
modules=$tree/lib/node_modules
# Modules of hsd that are C and C++.
compiled=(bcrypto bdb goosig)

rm -rf "$tree"
mkdir -p "$tree/lib"
cp packaging/node/package.json packaging/node/package-lock.json "$tree/lib"
npm ci --prefix "$tree/lib" --ignore-scripts --os=linux --cpu="$cpu" --libc=glibc >"$stage/npm.log" 2>&1 \
  || fail "npm could not install what packaging/node names: $stage/npm.log"
if [ ! "$node" ]; then
  node=$stage/node-$platform
  rm -rf "$node"
  mv "$modules/node-linux-$cpu" "$node"
fi
rm -rf "$modules"/{.bin,node-linux-*}

# node-gyp takes compilers and what it builds for from the environment.
(
  for program in cc c++; do
    printf '#!/bin/sh\nexec "%s" %s -target %s -g0 -s "$@"\n' "$tools/bin/zig" "$program" "$zig" >"$stage/$program"
    chmod +x "$stage/$program"
  done
  export CC=$stage/cc CXX=$stage/c++ AR="$tools/bin/zig ar"
  export npm_package_config_node_gyp_arch=$cpu npm_package_config_node_gyp_nodedir=$node
  cd "$tree/lib"
  npm rebuild "${compiled[@]}"
) >"$stage/compile.log" 2>&1 || fail "hsd's modules could not be compiled: $stage/compile.log"

# Of a compiled module its sources and what came between them and the module are not needed.
for module in "${compiled[@]}"; do
  find "$modules/$module/build" -type f ! -path '*/build/Release/*.node' -delete
  rm -rf "$modules/$module"/{deps,src}
done
find "$modules" -depth -path '*/build/*' -type d -empty -delete
rm "$tree/lib/package.json" "$tree/lib/package-lock.json" "$modules/.package-lock.json"

scripts/release/node_tree.sh "$tree" "$out" "$platform" "$node"
pack "$out/$name.tar.gz" "$stage" "$name"
