#!/bin/sh
# Runs fuzz targets: fuzz/run.sh SECONDS [TARGET...], all targets if none is named. Says at the end which found something;
# the inputs lie in fuzz/artifacts/TARGET. The target `judge` is fuzz/judge.py: what it tests is Python.
#
# Each target may take 2 GiB (-rss_limit_mb; the address sanitizer doubles what a program takes) and 25 seconds an input
# (-timeout), and its inputs have up to 64 KiB. A text has its tokenizer's time budget, 2 seconds; in these builds, which
# are slower, some inputs take all of it.
#
# Leaks are not looked for: a thread that is just ending is taken for one, and -rss_limit_mb bounds real ones.
#
# FUZZ_TARGET_DIR: where to build (default: fuzz/target). FUZZ_SANITIZER: address (default) or none.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
[ $# -gt 0 ] || set -- $(ls "$here/fuzz_targets" | sed 's/\.rs$//') judge
build=${FUZZ_TARGET_DIR:-$here/target}
host=$(rustc -vV | sed -n 's/^host: //p')

flags="--cfg fuzzing -Cdebug-assertions -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=16"
[ "${FUZZ_SANITIZER:-address}" = none ] || flags="$flags -Zsanitizer=address"
bins=$(for target in "$@"; do [ "$target" = judge ] || printf ' --bin %s' "$target"; done)
# RUSTC_BOOTSTRAP lets a stable toolchain take the sanitizer's flag. The libraries that link C code (oniguruma) are built
# without the sanitizer, so what it sees of them is their calls of malloc and free.
[ -z "$bins" ] || (cd "$here" && RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags" cargo build --release --target "$host" --target-dir "$build" $bins)

python3 "$here/seeds.py" "$here/corpus"
failed=
for target in "$@"; do
    echo "== $target"
    if [ "$target" = judge ]; then
        python3 "$here/judge.py" "$seconds" || failed="$failed judge"
        continue
    fi
    mkdir -p "$here/corpus/$target" "$here/artifacts/$target"
    "$build/$host/release/$target" "$here/corpus/$target" -artifact_prefix="$here/artifacts/$target/" \
        -max_total_time="$seconds" -rss_limit_mb=2048 -malloc_limit_mb=2048 -timeout=25 -max_len=65536 -verbosity=0 -detect_leaks=0 \
        -print_final_stats=1 || failed="$failed $target"
done
[ -z "$failed" ] || { echo "found something:$failed" >&2; exit 1; }
