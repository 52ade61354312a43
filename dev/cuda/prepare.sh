#!/usr/bin/env bash
# Packs what dev/cuda/check.sh needs beside a checkout, for a machine with a GPU but without Rust and network: the
# program, the tests of devices and a small model. Fails if that takes more than 60 MB.
#
# usage: dev/cuda/prepare.sh [ARCHIVE]      default: target/gpu.tar.gz
set -euo pipefail
cd "$(dirname "$0")/../.."
archive=${1:-target/gpu.tar.gz}
most=60000000
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
mkdir -p "$files/gpu/tests"

# pack_test NAME ARGUMENTS...: builds a test program; cargo's messages name it.
pack_test() {
    local name=$1 program
    shift
    program=$(cargo test --locked --no-run "$@" 2>&1 | tee >(cat >&2) | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
    strip -o "$files/gpu/tests/$name" "$program"
}

cargo build --release --locked --bin meno
program=${CARGO_TARGET_DIR:-target}/release/meno
strip -o "$files/gpu/meno" "$program"
pack_test tensor -p meno-tensor --lib
pack_test networks -p meno-model --test devices

# A small DeepSeek-V3 that has been through every stage, with its tokenizer.
"$program" replicate --preset smoke --plain --out "$files/smoke" >"$files/smoke.log" ||
    { tail "$files/smoke.log" >&2 && exit 1; }
mv "$files/smoke/r1" "$files/gpu/r1"

mkdir -p "$(dirname "$archive")"
tar -C "$files/gpu" -czf "$archive" .
size=$(wc -c <"$archive")
echo "$archive: $((size / 1000000)) MB"
((size <= most)) || { echo "more than $((most / 1000000)) MB" >&2 && exit 1; }
