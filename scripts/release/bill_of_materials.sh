#!/usr/bin/env bash
# Writes hstratum-VERSION.cdx.json, the release's software bill of materials: crates of the command and the addon,
# and what npm brings with hsd.
#   scripts/release/bill_of_materials.sh OUT
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/release/common.sh
[ $# = 1 ] || fail 'bill_of_materials.sh OUT'
if [ ! -x target/tools/bin/cargo-cyclonedx ]; then
  cargo install --quiet --locked --root target/tools cargo-cyclonedx@0.5.9
fi
for crate in cli addon; do
  PATH=$PWD/target/tools/bin:$PATH cargo cyclonedx --quiet --manifest-path "crates/$crate/Cargo.toml" --format json \
    --spec-version 1.5 --override-filename bill
  mv "crates/$crate/bill.json" "target/bill-$crate.json"
  # It writes one for each crate that this one needs.
  rm -f crates/*/bill.json
done
npm sbom --prefix packaging/node --package-lock-only --sbom-format cyclonedx >target/bill-node.json
node scripts/release/merge_bills.js "$1/hstratum-$version.cdx.json" target/bill-{cli,addon,node}.json
