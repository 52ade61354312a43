#!/usr/bin/env bash
# Builds the CUDA emulator: OUT_DIR/libcuda.so with all kernels of SOURCE_DIR, compiled for the CPU.
# Usage: build.sh OUT_DIR [SOURCE_DIR] [extra g++ flags...]
# Compiles only what changed and prints nothing when all is well. Needs g++ (or $CXX), bash and coreutils.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -ge 1 ] || { echo "usage: $0 OUT_DIR [SOURCE_DIR] [extra g++ flags...]" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
kernels=$here/../../../crates/meno-tensor/src/cuda/kernels
device=$kernels
shift
if [ $# -ge 1 ]; then kernels=$1; shift; fi
kernels=$(cd "$kernels" && pwd)
device=$(cd "$device" && pwd)

compiler=${CXX:-g++}
flags=(-std=c++17 -O2 -g1 -fPIC -fvisibility=hidden -ffp-contract=off -fno-strict-aliasing
    -Wall -Wno-unknown-pragmas -Wno-unused -Wno-sign-compare -Wno-psabi "-DMENO_EMULATOR=1" -I"$here" -I"$kernels" -I"$device" "$@")

# One build at a time in a directory.
exec 9>"$out/lock"
flock 9

# A change of the compiler or its flags makes everything old.
stamp="$compiler $("$compiler" -dumpfullversion) ${flags[*]}"
if [ "$(cat "$out/flags" 2>/dev/null)" != "$stamp" ]; then
    rm -f "$out"/*.o
    printf '%s\n' "$stamp" >"$out/flags"
fi

# Is the file $1 missing or older than one of the others?
is_old() {
    local target=$1 source
    shift
    [ -e "$target" ] || return 0
    for source in "$@"; do [ "$target" -nt "$source" ] || return 0; done
    return 1
}

# Writes a program text that includes a .cu file and registers its kernels.
# The unnamed namespace keeps equal names of different files apart, as nvcc does.
write_registration() {
    local source=$1
    echo "#include \"device.cuh\""
    echo "namespace {"
    echo "#include \"$source\""
    sed -n 's/^KERNEL(\([^)]*\),[[:space:]]*\([A-Za-z_0-9]*\)).*/EMULATOR_REGISTER(\1, \2)/p' "$source"
    echo "}"
}

# The text only changes when the list of kernels does, so that its time says something.
update_registration() {
    local source=$1 target=$2
    write_registration "$source" >"$target.new"
    if cmp -s "$target.new" "$target"; then rm "$target.new"; else mv "$target.new" "$target"; fi
}

shopt -s nullglob
headers=("$here"/*.h "$device"/*.cuh "$kernels"/*.cuh)
objects=()
jobs_file=$out/jobs
: >"$jobs_file"

plan() {  # source object dependencies...
    local source=$1 object=$2
    objects+=("$object")
    if is_old "$object" "$source" "${@:3}" "${headers[@]}"; then
        printf '%s\0%s\0' "$source" "$object" >>"$jobs_file"
    fi
}

for source in "$here"/*.cpp; do
    name=$(basename "$source" .cpp)
    [ "$name" = test ] || plan "$source" "$out/emulator_$name.o"
done
for source in "$kernels"/*.cu; do
    name=$(basename "$source" .cu)
    update_registration "$source" "$out/kernels_$name.cpp"
    plan "$out/kernels_$name.cpp" "$out/kernels_$name.o" "$source"
done

# Objects of kernels that no longer exist must not be linked.
for object in "$out"/kernels_*.o; do
    [[ " ${objects[*]} " == *" $object "* ]] || rm -f "$object" "${object%.o}.cpp" "$out/libcuda.so"
done

compile() {
    local source=$1 object=$2
    "$COMPILER" "${@:3}" -c -o "$object.new" "$source" && mv "$object.new" "$object"
}
export -f compile
export COMPILER=$compiler
xargs -0 -r -n 2 -P "$(nproc)" bash -c \
    'arguments=("$@"); count=${#arguments[@]}; compile "${arguments[@]: -2}" "${arguments[@]:0:count-2}"' compile \
    "${flags[@]}" <"$jobs_file"
rm -f "$jobs_file"

if is_old "$out/libcuda.so" "${objects[@]}"; then
    "$compiler" -shared -o "$out/libcuda.so.new" -Wl,-soname,libcuda.so -Wl,--no-undefined "$@" "${objects[@]}" \
        -lpthread
    mv "$out/libcuda.so.new" "$out/libcuda.so"
fi
