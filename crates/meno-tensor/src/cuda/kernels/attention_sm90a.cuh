// What attention for compute capability 9.0 shares, forward and backward: heads that TMA loads, and matrices of 64 rows
// as left operands of wgmma.
//
// A matrix lies in shared memory in panels of 64 columns, all rows of a panel together, with the 128-byte swizzle.
#pragma once
#include "attention.cuh"
#include "sm90a.cuh"

namespace {

// Rows of a warpgroup, 16 of each warp.
constexpr int ROWS = 64;

// The first row of this lane in the accumulators of its warpgroup; the other one is 8 rows below. Number 4 i + e is
// column 8 i + 2 (lane % 4) + e % 2 of row e / 2.
__device__ __forceinline__ int lane_row() { return threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4; }

// A head of an activation: boxes of 64 columns, and the head's first column.
struct Head {
    const CUtensorMap* map;
    int column;

    // Loads `COLUMNS` columns of a box's rows, in panels of 64.
    template <int COLUMNS>
    __device__ __forceinline__ void load(uint32_t to, uint32_t panel_bytes, int row, uint32_t barrier) const {
#pragma unroll
        for (int i = 0; i < COLUMNS / 64; i++) tma_load(to + i * panel_bytes, map, column + i * 64, row, barrier);
    }
};

// Sets the rows of a matrix from `row` on to zero. These belong to other sequences: a probability of zero times infinity
// would be NaN. For one of several warpgroups that share the work, before fence_proxy and a barrier of theirs.
template <int MATRIX_ROWS, int COLUMNS>
__device__ __forceinline__ void clear_rows(unsigned char* matrix, int row, int thread, int threads) {
#pragma unroll
    for (int panel = 0; panel < COLUMNS / 64; panel++)
        for (int i = row * 128 + thread * 16; i < MATRIX_ROWS * 128; i += threads * 16)
            *(uint4*)(matrix + panel * MATRIX_ROWS * 128 + i) = make_uint4(0, 0, 0, 0);
}

}  // namespace
