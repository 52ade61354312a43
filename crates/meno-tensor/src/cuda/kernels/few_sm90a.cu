// Products of at most 64 rows for compute capability 9.0, y = x wT, which read w once. CPU: cpu/gemm.rs.
//
// The rows of w are the tensor cores' rows, those of x the columns: with mma.sync for 8 and 16 rows of x, with wgmma for
// 32 and 64. One warp loads w and x with TMA, the others multiply: each its rows of w. An element is one chain over k in
// ascending steps of 16, as in gemm_sm90a.cu.
#include "sm90a.cuh"

// A stage of the ring has two boxes of 64 k of the tile of w, then two of x.
constexpr int STAGE_K = 2 * K_BLOCK;

// The tiles of rows of w and where they lie in a stage. X_ROWS: rows of x, with those that are zero.
template <int X_ROWS> struct Tiles {
    int rows;   // of a tile
    int count;  // tiles
    int stages_of_k;

    __device__ __forceinline__ Tiles(int rows, int n, int k)
        : rows(rows), count((n + rows - 1) / rows), stages_of_k((k + STAGE_K - 1) / STAGE_K) {}
    __device__ __forceinline__ uint32_t w_at(int half) const { return half * rows * 128; }
    __device__ __forceinline__ uint32_t x_at(int half) const { return 2 * rows * 128 + half * X_ROWS * 128; }
    __device__ __forceinline__ uint32_t bytes() const { return 2 * (rows + X_ROWS) * 128; }
};

// Loads this block's tiles. For one thread.
template <int X_ROWS>
__device__ __forceinline__ void load_tiles(const CUtensorMap* w, const CUtensorMap* x, const Ring& ring,
                                           const Tiles<X_ROWS>& tiles) {
    Turn turn;
    for (int tile = blockIdx.x; tile < tiles.count; tile += gridDim.x) {
        for (int i = 0; i < tiles.stages_of_k; i++) {
            const uint32_t barrier = ring.fill(turn), at = ring.buffer(turn.stage);
#pragma unroll
            for (int half = 0; half < 2; half++)
                tma_load(at + tiles.w_at(half), w, i * STAGE_K + half * K_BLOCK, tile * tiles.rows, barrier);
#pragma unroll
            for (int half = 0; half < 2; half++)
                tma_load(at + tiles.x_at(half), x, i * STAGE_K + half * K_BLOCK, 0, barrier);
            turn.next(ring.stages);
        }
    }
}

// Adds to 4 N sums what lies in a row (bias, ld = 0) or a matrix, where the sums' results go. All are loaded before the
// first is added.
template <int N, class Y, class T>
__device__ __forceinline__ void add_terms(float* sums, const T* from, long long ld, const Output<Y>& out, int row,
                                          int column) {
    float terms[4 * N];
#pragma unroll
    for (int i = 0; i < 4 * N; i++) {
        const int r = row + i / 4 * 8 + i % 2, c = column + i % 4 / 2 * 8;
        terms[i] = r < out.m && c < out.n ? to_float(from[r * ld + c]) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < 4 * N; i++) sums[i] = __fadd_rn(terms[i], sums[i]);
}

// Stores a warp's sums of 16 rows of w, and 8 N rows of x, where `column` is the first of y. Lane i holds rows of w
// i / 4 and i / 4 + 8, rows of x 8 j + 2 (i % 4) and the next.
template <int N, class Y> __device__ __forceinline__ void store(float* sums, const Output<Y>& out, int column) {
    const int lane = threadIdx.x % 32, row = lane % 4 * 2;
    column += lane / 4;
    if (out.bias) add_terms<N>(sums, out.bias, 0, out, row, column);
    if (out.residual) add_terms<N>(sums, out.residual, out.ldy, out, row, column);
    if (out.add) add_terms<N>(sums, out.y, out.ldy, out, row, column);
#pragma unroll
    for (int i = 0; i < 4 * N; i++) {
        const int r = row + i / 4 * 8 + i % 2, c = column + i % 4 / 2 * 8;
        if (r < out.m && c < out.n) out.y[r * (long long)out.ldy + c] = from_float<Y>(sums[i]);
    }
}

// The fragments of mma.sync for 64 k: 16 rows of w, and 8 N rows of x.
template <int N> struct Fragments {
    uint32_t w[4][4], x[N][2][4];

    // `w_at` and `x_at` are the first rows of boxes.
    __device__ __forceinline__ void load(uint32_t w_at, uint32_t x_at) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int step = 0; step < 4; step++) ldsm4(w[step], w_at + swz(lane % 16, step * 2 + lane / 16));
#pragma unroll
        for (int j = 0; j < N; j++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                ldsm4(x[j][half], x_at + j * 1024 + swz(lane % 8, half * 4 + lane / 8));
    }
    __device__ __forceinline__ void multiply(float (&sums)[N][4]) const {
#pragma unroll
        for (int step = 0; step < 4; step++)
#pragma unroll
            for (int j = 0; j < N; j++) {
                const uint32_t(&b)[4] = x[j][step / 2];
                mma16816(sums[j], w[step][0], w[step][1], w[step][2], w[step][3], b[step % 2 * 2],
                         b[step % 2 * 2 + 1]);
            }
    }
};

// Multiplies 16 rows of w of each tile, from row `first` of the tile on. For one warp.
template <int N, class Y>
__device__ __forceinline__ void multiply_mma(const Output<Y>& out, const Ring& ring, const Tiles<8 * N>& tiles, int k,
                                             int first) {
    const int blocks = (k + K_BLOCK - 1) / K_BLOCK;
    const uint32_t w_row = first * 128;
    // The fragments of the next 64 k are loaded before those of this one are multiplied.
    Fragments<N> even, odd;
    Turn loads, releases;
    uint32_t stage = 0;
    const auto load_even = [&] {
        ring.wait(loads);
        stage = ring.buffer(loads.stage);
        even.load(stage + tiles.w_at(0) + w_row, stage + tiles.x_at(0));
        loads.next(ring.stages);
    };
    for (int tile = blockIdx.x; tile < tiles.count; tile += gridDim.x) {
        float sums[N][4] = {};
        load_even();
        for (int block = 0; block < blocks; block += 2) {
            if (block + 1 < blocks) odd.load(stage + tiles.w_at(1) + w_row, stage + tiles.x_at(1));
            even.multiply(sums);
            if (block + 1 < blocks) {
                if (block + 2 < blocks) load_even();
                odd.multiply(sums);
            }
            __syncwarp();
            ring.release(releases.stage);
            releases.next(ring.stages);
        }
        store<N>(sums[0], out, tile * tiles.rows + first);
    }
}

// Multiplies 64 rows of w of each tile, from row `first` of the tile on. For one warpgroup.
template <int N, class Y>
__device__ __forceinline__ void multiply_wgmma(const Output<Y>& out, const Ring& ring, const Tiles<8 * N>& tiles,
                                               int k, int first) {
    const int blocks = (k + K_BLOCK - 1) / K_BLOCK, warp = threadIdx.x / 32 % 4;
    float d[4 * N];
    Turn loads, releases;
    uint32_t stage = 0;
    const auto release = [&] {
        ring.release(releases.stage);
        releases.next(ring.stages);
    };
    for (int tile = blockIdx.x; tile < tiles.count; tile += gridDim.x) {
        for (int block = 0; block < blocks; block++) {
            const int half = block % 2;
            if (half == 0) {
                ring.wait(loads);
                stage = ring.buffer(loads.stage);
                loads.next(ring.stages);
            }
            const uint64_t w = desc_k(stage + tiles.w_at(half) + first * 128), x = desc_k(stage + tiles.x_at(half));
            start_products<8 * N, K_MAJOR, K_MAJOR>(d, w, x, block > 0);
            wg_wait<1>();  // the block before is done: after an odd one, its stage
            if (half == 0 && block > 0) release();
        }
        wg_wait<0>();
        release();
        store<N>(d, out, tile * tiles.rows + first + warp * 16);
    }
}

// y = x wT for at most 8 N rows of x. w: boxes of 64 x the rows of a tile; x: of 64 x 8 N. Blocks of `warps` warps,
// each with 16 rows of a tile, and one more.
template <int N, bool WGMMA, class Y>
__device__ __forceinline__ void few(const CUtensorMap* w, const CUtensorMap* x, const Output<Y>& out, int k, int warps,
                                    int stages) {
    SHARED_MEMORY(shared);
    const Tiles<8 * N> tiles(warps * 16, out.n, k);
    const uint32_t base = smem_u32(shared);
    const Ring ring(base, base + stages * tiles.bytes(), stages, tiles.bytes());
    if (threadIdx.x == 0) {
        prefetch_map(w);
        prefetch_map(x);
        ring.start(warps);
    }
    __syncthreads();
    const int warp = threadIdx.x / 32;
    if (warp == warps) {
        if (threadIdx.x % 32 == 0) load_tiles(w, x, ring, tiles);
    } else if (WGMMA) {
        multiply_wgmma<N>(out, ring, tiles, k, warp / 4 * 64);
    } else {
        multiply_mma<N>(out, ring, tiles, k, warp * 16);
    }
}

#define PARAMETERS(Y)                                                                                                \
    (const __grid_constant__ CUtensorMap map_w, const __grid_constant__ CUtensorMap map_x, Y* y, const float* bias,  \
     const float* residual, int m, int n, int k, int ldy, int add, int warps, int stages)
#define FEW(N, WGMMA, Y) \
    few<N, WGMMA>(&map_w, &map_x, Output<Y>{y, bias, residual, m, n, ldy, add}, k, warps, stages)

KERNEL(288, few_sm90a_8_f32)PARAMETERS(float) { FEW(1, false, float); }
KERNEL(288, few_sm90a_16_f32)PARAMETERS(float) { FEW(2, false, float); }
KERNEL(288, few_sm90a_32_f32)PARAMETERS(float) { FEW(4, true, float); }
KERNEL(288, few_sm90a_64_f32)PARAMETERS(float) { FEW(8, true, float); }
KERNEL(288, few_sm90a_8_bf16)PARAMETERS(bf16) { FEW(1, false, bf16); }
KERNEL(288, few_sm90a_16_bf16)PARAMETERS(bf16) { FEW(2, false, bf16); }
KERNEL(288, few_sm90a_32_bf16)PARAMETERS(bf16) { FEW(4, true, bf16); }
KERNEL(288, few_sm90a_64_bf16)PARAMETERS(bf16) { FEW(8, true, bf16); }
