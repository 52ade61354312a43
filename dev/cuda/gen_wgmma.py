#!/usr/bin/env python3
"""Writes crates/meno-tensor/src/cuda/kernels/wgmma.cuh: a wrapper for each width N of wgmma (m64 nN k16)."""
import pathlib

WIDTHS = (8, 16, 32, 64, 128, 192, 256)
TARGET = pathlib.Path(__file__).parents[2] / "crates/meno-tensor/src/cuda/kernels/wgmma.cuh"

HEAD = """\
// Written by dev/cuda/gen_wgmma.py; do not edit.
// Wgmma<N, TA, TB>: d (64 x N, N / 2 registers of each thread of a warpgroup) = A B, or d += A B when acc is not 0.
//   ss: both operands from shared memory (matrix descriptors)
//   rs: A from registers
// TA, TB = 1: the operand is MN-major (the reduction index is the slow one).
#pragma once

template <int N, int TA, int TB> struct Wgmma;
"""

WRAPPER = """
template <int TA, int TB> struct Wgmma<@N@, TA, TB> {
    static __device__ __forceinline__ void ss(float (&d)[@R@], uint64_t a, uint64_t b, int acc) {
        asm volatile(
            "{\\n.reg .pred p;\\nsetp.ne.b32 p, %@SS_ACC@, 0;\\n"
            "wgmma.mma_async.sync.aligned.m64n@N@k16.f32.bf16.bf16 {"
@REGISTERS@
            "}, %@R@, %@SS_B@, p, 1, 1, %@SS_TA@, %@SS_TB@;\\n}\\n"
            : @OUTPUTS@
            : "l"(a), "l"(b), "r"(acc), "n"(TA), "n"(TB));
    }
    static __device__ __forceinline__ void rs(float (&d)[@R@], const uint32_t (&a)[4], uint64_t b, int acc) {
        asm volatile(
            "{\\n.reg .pred p;\\nsetp.ne.b32 p, %@RS_ACC@, 0;\\n"
            "wgmma.mma_async.sync.aligned.m64n@N@k16.f32.bf16.bf16 {"
@REGISTERS@
            "}, {%@R@, %@RS_A1@, %@RS_A2@, %@RS_A3@}, %@RS_B@, p, 1, 1, %@RS_TB@;\\n}\\n"
            : @OUTPUTS@
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(acc), "n"(TB));
    }
};
"""


def lines(items, per_line):
    """Joins items with commas, `per_line` of them in a line."""
    return [", ".join(items[i:i + per_line]) for i in range(0, len(items), per_line)]


def wrapper(n):
    count = n // 2
    rows = lines([f"%{i}" for i in range(count)], 16)
    registers = "\n".join(f'            "{row}{"," if i + 1 < len(rows) else ""}"' for i, row in enumerate(rows))
    outputs = ",\n              ".join(lines([f'"+f"(d[{i}])' for i in range(count)], 7))
    values = {
        "N": n, "R": count, "REGISTERS": registers, "OUTPUTS": outputs,
        "SS_B": count + 1, "SS_ACC": count + 2, "SS_TA": count + 3, "SS_TB": count + 4,
        "RS_A1": count + 1, "RS_A2": count + 2, "RS_A3": count + 3,
        "RS_B": count + 4, "RS_ACC": count + 5, "RS_TB": count + 6,
    }
    text = WRAPPER
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


TARGET.write_text(HEAD + "".join(wrapper(n) for n in WIDTHS))
