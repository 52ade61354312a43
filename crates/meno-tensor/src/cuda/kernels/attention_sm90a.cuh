// What attention for compute capability 9.0 shares, forward and backward: heads that TMA loads, and the products of a
// warpgroup.
//
// A matrix lies in shared memory in panels of 64 columns, all rows of a panel together, with the 128-byte swizzle.
#pragma once
#include "attention.cuh"
#include "sm90a.cuh"

namespace {

constexpr int ROWS = 64;              // of a warpgroup, 16 of each warp
constexpr int BLOCK_ROWS = 2 * ROWS;  // of a block: two warpgroups multiply

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

// Sets the rows of a matrix from `row` on to zero, which belong to other sequences: a probability of zero times
// infinity would be NaN. The threads that share the work call fence_proxy and meet at a barrier after it.
template <int MATRIX_ROWS, int COLUMNS>
__device__ __forceinline__ void clear_rows(unsigned char* matrix, int row, int thread, int threads) {
#pragma unroll
    for (int panel = 0; panel < COLUMNS / 64; panel++)
        for (int i = row * 128 + thread * 16; i < MATRIX_ROWS * 128; i += threads * 16)
            *(uint4*)(matrix + panel * MATRIX_ROWS * 128 + i) = make_uint4(0, 0, 0, 0);
}

// A matrix of 64 rows as the left operand of products over its columns: in registers if HELD, else in shared memory.
template <int COLUMNS, bool HELD> struct Left {
    uint32_t held[HELD ? COLUMNS / 16 : 1][4];
    uint64_t at;

    // Takes the rows from `from` on of a matrix of 128 rows in shared memory.
    __device__ __forceinline__ void start(uint32_t matrix, int from) {
        at = desc_k(matrix + from * 128);
        const int lane = threadIdx.x % 32, row = from + threadIdx.x % 128 / 32 * 16 + lane % 16;
        if constexpr (HELD)
#pragma unroll
            for (int kk = 0; kk < COLUMNS / 16; kk++)
                ldsm4(held[kk], matrix + kk / 4 * BLOCK_ROWS * 128 + swz(row, kk % 4 * 2 + lane / 16));
    }
    // Starts product = this times all `N` rows of another matrix.
    template <int N> __device__ __forceinline__ void start_products(float (&product)[N / 2], uint32_t other) const {
        const uint64_t b = desc_k(other);
#pragma unroll
        for (int kk = 0; kk < COLUMNS / 16; kk++) {
            const uint64_t columns = b + kk / 4 * (N * 128 >> 4) + kk % 4 * 2;
            if constexpr (HELD)
                Wgmma<N, K_MAJOR, K_MAJOR>::rs(product, held[kk], columns, kk > 0);
            else
                Wgmma<N, K_MAJOR, K_MAJOR>::ss(product, at + kk / 4 * (BLOCK_ROWS * 128 >> 4) + kk % 4 * 2, columns,
                                               kk > 0);
        }
        wg_commit();
    }
};

// Starts sum += weights times the `N` rows of a matrix.
template <int N, int COLUMNS>
__device__ __forceinline__ void start_sums(float (&sum)[COLUMNS / 2], const uint32_t (&weights)[N / 16][4],
                                           uint32_t matrix) {
    const uint64_t b = desc_mn(matrix, N * 128);
#pragma unroll
    for (int kk = 0; kk < N / 16; kk++) Wgmma<COLUMNS, K_MAJOR, MN_MAJOR>::rs(sum, weights[kk], b + kk * 128, 1);
    wg_commit();
}

// Rounds numbers to bf16, as left operands.
template <int N> __device__ __forceinline__ void round(uint32_t (&to)[N / 16][4], const float (&from)[N / 2]) {
#pragma unroll
    for (int kk = 0; kk < N / 16; kk++)
#pragma unroll
        for (int x = 0; x < 4; x++) to[kk][x] = pack2(from[8 * kk + 2 * x], from[8 * kk + 2 * x + 1]);
}

}  // namespace
