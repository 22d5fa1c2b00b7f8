#!/usr/bin/env bash
# The documents as a site with search, into target/site, by mdBook, which is compiled the first time. A link
# that leads nowhere is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.5.4
mdbook=target/tools/bin/mdbook
if [ "$("$mdbook" --version 2>/dev/null)" != "mdbook v$version" ]; then
  cargo install --quiet --locked --no-default-features --features search --root target/tools "mdbook@$version"
fi
rm -rf target/book target/site
node scripts/site.js write target/book
said=$("$mdbook" build target/book --dest-dir "$PWD/target/site" 2>&1) || { echo "$said" >&2; exit 1; }
# Of a tag that is left open, say, which hides text.
if grep WARN <<<"$said" >&2; then exit 1; fi
node scripts/site.js check target/site
