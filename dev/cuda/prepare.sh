#!/usr/bin/env bash
# Collects what dev/cuda/check.sh needs on a machine with a GPU but without Rust and network: the program, the tests of
# devices, a small model and recipes. At most 60 MB.
#
# usage: dev/cuda/prepare.sh [DIR]      default: target/gpu
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-target/gpu}
rm -rf "$out"
mkdir -p "$out/tests"

built() { # prints the path of the test program that cargo names in its messages
    sed -n 's/^ *Executable .*(\(.*\))$/\1/p'
}
cargo build --release --locked --bin meno
program=${CARGO_TARGET_DIR:-target}/release/meno
strip -o "$out/meno" "$program"
strip -o "$out/tests/tensor" "$(cargo test --locked --no-run -p meno-tensor --lib 2>&1 | built)"
strip -o "$out/tests/networks" "$(cargo test --locked --no-run -p meno-model --test devices 2>&1 | built)"

# A small DeepSeek-V3 that has been through every stage, with its tokenizer.
"$program" replicate --preset smoke --plain --out "$out/smoke" >"$out/smoke.log"
mv "$out/smoke/r1" "$out/r1"
rm -rf "$out/smoke"
du -sh "$out"
