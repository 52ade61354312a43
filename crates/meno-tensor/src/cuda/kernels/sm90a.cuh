// What the products for compute capability 9.0 share: the ring of buffers between the thread that loads with TMA and
// the warps that multiply with wgmma, the products of a tile, and the order of tiles.
//
// All matrices pass through shared memory in boxes of 64 bf16 (128 bytes) with the 128-byte swizzle. TMA fills what
// lies outside of a matrix with zeros, which add nothing to a sum.
#pragma once
#include "device.cuh"

// How an operand lies in memory: its rows have adjacent k, or there is a row for each k.
enum Major { K_MAJOR = 0, MN_MAJOR = 1 };

constexpr int K_BLOCK = 64;          // k of a box: four steps of the tensor cores
constexpr int K_STEP = 16;           // k of a step
constexpr int PANEL_BYTES = 64 * 128;  // a box of 64 rows

// A place in the ring. The parity says which round of the ring it is.
struct Turn {
    int stage = 0;
    uint32_t parity = 0;

    __device__ __forceinline__ void next(int stages) {
        if (++stage == stages) stage = 0, parity ^= 1;
    }
};

// Buffers in shared memory that one thread fills and warps of consumers read, with a barrier each for "full" and
// "empty".
struct Ring {
    uint32_t buffers, full, empty;
    int stages;
    uint32_t bytes;  // of a buffer

    // The barriers take 16 bytes for each stage.
    __device__ __forceinline__ Ring(uint32_t buffers, uint32_t barriers, int stages, uint32_t bytes)
        : buffers(buffers), full(barriers), empty(barriers + 8 * stages), stages(stages), bytes(bytes) {}

    // Prepares the barriers for this many warps of consumers; for one thread, before a barrier of the block.
    __device__ __forceinline__ void start(int consumers) const {
        for (int stage = 0; stage < stages; stage++) {
            mbar_init(full + 8 * stage, 1);
            mbar_init(empty + 8 * stage, consumers);
        }
        fence_init();
    }
    __device__ __forceinline__ uint32_t buffer(int stage) const { return buffers + stage * bytes; }

    // Waits until all consumers have released a buffer.
    __device__ __forceinline__ void wait_empty(Turn turn) const {
        mbar_wait(empty + 8 * turn.stage, turn.parity ^ 1);
    }
    // Returns the barrier for the loads that fill an empty buffer; for one thread.
    __device__ __forceinline__ uint32_t expect(Turn turn) const {
        const uint32_t barrier = full + 8 * turn.stage;
        mbar_expect(barrier, bytes);
        return barrier;
    }
    // Both, for one thread that loads alone.
    __device__ __forceinline__ uint32_t fill(Turn turn) const {
        wait_empty(turn);
        return expect(turn);
    }
    // Waits until a buffer is full.
    __device__ __forceinline__ void wait(Turn turn) const { mbar_wait(full + 8 * turn.stage, turn.parity); }

    // Says that this warp has read a buffer.
    __device__ __forceinline__ void release(int stage) const {
        if (threadIdx.x % 32 == 0) mbar_arrive(empty + 8 * stage);
    }
};

// Starts the products of a box of 64 k, d (64 x N of this warpgroup) = or += A B.
template <int N, Major A, Major B>
__device__ __forceinline__ void start_products(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate) {
    constexpr int A_STEP = A == K_MAJOR ? 2 : 128, B_STEP = B == K_MAJOR ? 2 : 128;
    wg_fence();
#pragma unroll
    for (int step = 0; step < K_BLOCK / K_STEP; step++)
        Wgmma<N, A, B>::ss(d, a + step * A_STEP, b + step * B_STEP, step ? 1 : accumulate);
    wg_commit();
}

// d = A B over `blocks` boxes of 64 k: one chain in ascending steps of 16. `a` and `b` describe the operands in the
// ring's first buffer.
template <int N, Major A, Major B>
__device__ __forceinline__ void multiply(float (&d)[N / 2], const Ring& ring, Turn& turn, uint64_t a, uint64_t b,
                                         int blocks) {
    int previous = 0;
    for (int block = 0; block < blocks; block++) {
        ring.wait(turn);
        const uint64_t offset = uint64_t(turn.stage * (ring.bytes >> 4));
        start_products<N, A, B>(d, a + offset, b + offset, block > 0);
        if (block > 0) {
            wg_wait<1>();  // the products of the previous buffer are done, those of this one go on
            ring.release(previous);
        }
        previous = turn.stage;
        turn.next(ring.stages);
    }
    wg_wait<0>();
    ring.release(previous);
}

constexpr int STAGING_BYTES = 16 * 128;  // 16 rows of 64 bf16

// Two buffers of a warp, used in turns, through which results go to a bf16 matrix.
struct Staging {
    uint32_t buffers;
    int turn = 0;

    __device__ __forceinline__ explicit Staging(uint32_t buffers) : buffers(buffers) {}

    // Stores the sums of 16 rows and 64 columns at (column, row) of the matrix. Lane i holds rows i / 4 and i / 4 + 8,
    // columns 8 j + 2 (i % 4) and the next.
    __device__ __forceinline__ void store(const CUtensorMap* map, const float* sums, int column, int row) {
        const int lane = threadIdx.x % 32;
        const uint32_t buffer = buffers + turn * STAGING_BYTES;
        turn ^= 1;
        if (lane == 0) bulk_wait_read<1>();  // the store that last used this buffer has read it
        __syncwarp();
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float* q = sums + j * 8;
            stsm4(buffer + swz(lane % 16, j * 2 + lane / 16), pack2(q[0], q[1]), pack2(q[2], q[3]), pack2(q[4], q[5]),
                  pack2(q[6], q[7]));
        }
        fence_proxy();
        __syncwarp();
        if (lane == 0) {
            tma_store(map, buffer, column, row);
            bulk_commit();
        }
    }
    // Shared memory outlives the stores that read it: for the end of a kernel.
    __device__ __forceinline__ void finish() const {
        if (threadIdx.x % 32 == 0) bulk_wait_read<0>();
    }
};

// The tile that comes at place `index`: bands of `band` tiles down, column by column within a band, so that blocks that
// run at the same time share rows and columns in the L2 cache.
struct TilePlace {
    int row, column;
};
__device__ __forceinline__ TilePlace tile_place(int index, int row_tiles, int column_tiles, int band) {
    const int per_band = band * column_tiles, first = index / per_band * band;
    const int height = min(band, row_tiles - first), within = index % per_band;
    return {first + within % height, within / height};
}

// Two adjacent elements.
__device__ __forceinline__ float2 load_pair(const float* from) { return *reinterpret_cast<const float2*>(from); }
__device__ __forceinline__ float2 load_pair(const bf16* from) {
    const uint32_t pair = *reinterpret_cast<const uint32_t*>(from);
    return make_float2(unpack_low(pair), unpack_high(pair));
}

// Where the results of a product go: y = sum + bias + residual, + y if add. y and the residual have rows of ldy
// elements. No bias and no residual: null.
template <class Y> struct Output {
    Y* y;
    const float *bias, *residual;
    int m, n, ldy, add;
};
