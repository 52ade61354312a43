#!/usr/bin/env bash
# Builds the emulator with the test kernels in OUT_DIR and runs its tests. Usage: test.sh OUT_DIR [speed]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$1
"$here/build.sh" "$out" "$here/test_kernels"
"${CXX:-g++}" -std=c++17 -O1 -Wall -Wno-psabi -pthread -o "$out/test.new" "$here/test.cpp" "$out/libcuda.so"
mv "$out/test.new" "$out/test"
LD_LIBRARY_PATH=$(cd "$out" && pwd) "$out/test" "${@:2}"
