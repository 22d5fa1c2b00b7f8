#!/bin/sh
# libFuzzer on one target for so many seconds: TARGET=pool TIME=60. New inputs stay in fuzz/found;
# an input that breaks something is in fuzz/artifacts.
set -eu
cd "$(dirname "$0")/.."

target=${TARGET:-pool}
seconds=${TIME:-60}

missing() {
    echo "make fuzz needs $1" >&2
    exit 1
}

[ -f "fuzz/fuzz_targets/$target.rs" ] ||
    missing "a TARGET out of: $(cd fuzz/corpus && echo *)"
cargo +nightly --version >/dev/null 2>&1 ||
    missing 'a nightly toolchain: rustup toolchain install nightly'
cargo +nightly fuzz --version >/dev/null 2>&1 ||
    missing 'cargo-fuzz: cargo install --locked cargo-fuzz'

mkdir -p "fuzz/found/$target"
# A target directory of its own, since another toolchain would rebuild everything in the usual one.
# No sanitizer: it is several times slower, and there is no unsafe code here for it to watch.
CARGO_TARGET_DIR=fuzz/target exec cargo +nightly fuzz run --sanitizer none "$target" \
    "fuzz/found/$target" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 \
    -dict=fuzz/stratum.dict -print_final_stats=1
