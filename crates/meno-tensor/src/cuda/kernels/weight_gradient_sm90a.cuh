// What the gradients of weights for compute capability 9.0 share: a tile of 128 x 256 of dyT x, or of its transpose,
// and how it is added to dw. Two warpgroups multiply, each 64 rows of the tile.
#pragma once
#include "sm90a.cuh"

constexpr int TILE_ROWS = 128, TILE_COLUMNS = 256, BAND = 16;
constexpr int STAGES = 4, CONSUMERS = 8;
constexpr uint32_t A_BYTES = TILE_ROWS * 128, BYTES = A_BYTES + TILE_COLUMNS * 128;
constexpr int GROUPS = TILE_COLUMNS / 8;  // groups of columns: a thread has four sums of each

// Loads 64 rows of the batch, from row k on, of the columns that a tile needs. a [k, m] and b [k, n]: boxes of 64 x 64.
__device__ __forceinline__ void load_block(const CUtensorMap* a, const CUtensorMap* b, const Ring& ring, Turn turn,
                                           TilePlace tile, int k) {
    const uint32_t barrier = ring.fill(turn), at = ring.buffer(turn.stage);
#pragma unroll
    for (int i = 0; i < TILE_ROWS / 64; i++)
        tma_load(at + i * PANEL_BYTES, a, tile.row * TILE_ROWS + i * 64, k, barrier);
#pragma unroll
    for (int i = 0; i < TILE_COLUMNS / 64; i++)
        tma_load(at + A_BYTES + i * PANEL_BYTES, b, tile.column * TILE_COLUMNS + i * 64, k, barrier);
}

// The operands in the ring's first buffer, for thread `thread` of 256.
__device__ __forceinline__ uint64_t desc_a(const Ring& ring, int thread) {
    return desc_mn(ring.buffers + thread / 128 * PANEL_BYTES, PANEL_BYTES);
}
__device__ __forceinline__ uint64_t desc_b(const Ring& ring) { return desc_mn(ring.buffers + A_BYTES, PANEL_BYTES); }

// dw, as the product of m x n sees it: transposed or not. m and n are even.
template <bool TRANSPOSED> struct Gradient {
    float* at;
    int m, n, ld;
};

// The elements of a thread in a tile of dw: rows `row` and row + 8; of each group of 8 columns two, `column` and the
// next in the first group.
template <bool TRANSPOSED> struct Place {
    float* first;
    long long ld;
    int rows_left, columns_left;

    // Thread `thread` of 256.
    __device__ __forceinline__ Place(const Gradient<TRANSPOSED>& dw, TilePlace tile, int thread) {
        const int row = tile.row * TILE_ROWS + thread / 128 * 64 + thread / 32 % 4 * 16 + thread % 32 / 4;
        const int column = tile.column * TILE_COLUMNS + thread % 4 * 2;
        ld = dw.ld;
        first = dw.at + (TRANSPOSED ? column * ld + row : row * ld + column);
        rows_left = dw.m - row, columns_left = dw.n - column;
    }
    // The pair of columns of group `group` in row 8 * half.
    __device__ __forceinline__ bool inside(int half, int group) const {
        return 8 * half < rows_left && 8 * group < columns_left;
    }
    __device__ __forceinline__ float* pair(int half, int group) const {
        return first + (TRANSPOSED ? 8 * group * ld + 8 * half : 8 * half * ld + 8 * group);
    }
    __device__ __forceinline__ float2 load(int half, int group) const {
        if (!inside(half, group)) return make_float2(0.0f, 0.0f);
        const float* from = pair(half, group);
        return TRANSPOSED ? make_float2(from[0], from[ld]) : load_pair(from);
    }
    // old: what `load` returned.
    __device__ __forceinline__ void add(int half, int group, float2 old, float x, float y) const {
        if (!inside(half, group)) return;
        float* to = pair(half, group);
        x = __fadd_rn(old.x, x), y = __fadd_rn(old.y, y);
        if (TRANSPOSED)
            to[0] = x, to[ld] = y;
        else
            *reinterpret_cast<float2*>(to) = make_float2(x, y);
    }
};

// Adds a tile's sums to dw. The old values of 8 groups are loaded together, so that their latencies overlap.
template <bool TRANSPOSED>
__device__ __forceinline__ void add_tile(const Place<TRANSPOSED>& place, const float (&d)[TILE_COLUMNS / 2]) {
#pragma unroll
    for (int start = 0; start < GROUPS; start += 8) {
        float2 old[8][2];
#pragma unroll
        for (int i = 0; i < 16; i++) old[i / 2][i % 2] = place.load(i % 2, start + i / 2);
#pragma unroll
        for (int i = 0; i < 16; i++) {
            const float* sums = d + 4 * start + 2 * i;
            place.add(i % 2, start + i / 2, old[i / 2][i % 2], sums[0], sums[1]);
        }
    }
}

// Starts a ring, which one thread of a warpgroup fills with load(ring) and two warpgroups empty with multiply(ring).
template <class Load, class Multiply>
__device__ __forceinline__ void load_and_multiply(const CUtensorMap* a, const CUtensorMap* b, Load load,
                                                  Multiply multiply) {
    SHARED_MEMORY(shared);
    const uint32_t base = smem_u32(shared);
    const Ring ring(base, base + STAGES * BYTES, STAGES, BYTES);
    if (threadIdx.x == 0) {
        prefetch_map(a);
        prefetch_map(b);
        ring.start(CONSUMERS);
    }
    __syncthreads();
    // 40 registers for 128 threads and 232 for 256: what a multiprocessor has.
    if (threadIdx.x < 128) {
        reg_dec<40>();
        if (threadIdx.x == 0) load(ring);
    } else {
        reg_inc<232>();
        multiply(ring);
    }
}
