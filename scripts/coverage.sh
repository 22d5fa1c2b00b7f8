#!/bin/sh
# Coverage of crates/core by its tests and the simulator together: a table by file, and the lines
# themselves in target/llvm-cov/html. SEEDS and HOURS are the simulator's. LLVM_COV and LLVM_PROFDATA
# name the tools where rustup has none (their major version must be that of `rustc -vV`).
set -eu
cd "$(dirname "$0")/.."

if ! cargo llvm-cov --version >/dev/null 2>&1; then
    echo 'make coverage needs cargo-llvm-cov: cargo install --locked cargo-llvm-cov' >&2
    exit 1
fi

cargo llvm-cov clean --workspace
cargo llvm-cov test --locked --no-report -p hstratum-core -p hstratum-sim
for kind in '' --proxy; do
    cargo llvm-cov run --locked --no-report -p hstratum-sim -- \
        --seeds "${SEEDS:-30}" --hours "${HOURS:-0.3}" $kind
done
# Files outside core, and tests beside the code.
others='crates/(server|swarm|cli|harness|sim|addon)/|crates/core/tests/|_tests\.rs$'
cargo llvm-cov report --ignore-filename-regex "$others" --html
cargo llvm-cov report --ignore-filename-regex "$others"
