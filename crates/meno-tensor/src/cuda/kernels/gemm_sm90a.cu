// Products of many rows for compute capability 9.0, y = x wT and dx = dy w, with TMA and wgmma. CPU: cpu/gemm.rs.
//
// A block has one warpgroup of which one thread loads, and two that multiply: 64 rows each of a tile of 128 x COLUMNS.
// It takes one tile after the other, so that loads of a tile run during the end of the one before. An element is one
// chain over k in ascending steps of 16, whatever the tile.
#include "sm90a.cuh"

constexpr int TILE_ROWS = 128;
constexpr int CONSUMERS = 8;  // warps

// The buffers and the place in shared memory of a kernel with this tile and this type of y.
template <class Y, int COLUMNS> struct Memory {
    static constexpr bool STAGED = sizeof(Y) == 2;
    static constexpr int STAGES = COLUMNS >= 192 ? 4 : COLUMNS == 128 ? 6 : 8;
    static constexpr uint32_t A_BYTES = TILE_ROWS * 128, BYTES = A_BYTES + COLUMNS * 128;
    static constexpr uint32_t STAGING = STAGES * BYTES;  // where staging starts: two for each warp
    static constexpr uint32_t BARRIERS = STAGING + (STAGED ? CONSUMERS * 2 * STAGING_BYTES : 0);
};

// The tiles of a product, in the order in which the blocks take them.
template <int COLUMNS> struct Tiles {
    static constexpr int BAND = COLUMNS == 256 ? 16 : 12;
    int rows, columns;

    __device__ __forceinline__ Tiles(int m, int n)
        : rows((m + TILE_ROWS - 1) / TILE_ROWS), columns((n + COLUMNS - 1) / COLUMNS) {}
    __device__ __forceinline__ int count() const { return rows * columns; }
    __device__ __forceinline__ TilePlace at(int index) const { return tile_place(index, rows, columns, BAND); }
};

// Loads the operands of this block's tiles. For one thread.
template <int COLUMNS, Major B>
__device__ __forceinline__ void load_tiles(const CUtensorMap* a, const CUtensorMap* b, const Ring& ring,
                                           const Tiles<COLUMNS>& tiles, int blocks) {
    Turn turn;
    for (int index = blockIdx.x; index < tiles.count(); index += gridDim.x) {
        const TilePlace tile = tiles.at(index);
        for (int block = 0; block < blocks; block++) {
            const uint32_t barrier = ring.fill(turn), at = ring.buffer(turn.stage), b_at = at + TILE_ROWS * 128;
            const int k = block * K_BLOCK;
            tma_load(at, a, k, tile.row * TILE_ROWS, barrier);
            if (B == K_MAJOR) {
                tma_load(b_at, b, k, tile.column * COLUMNS, barrier);
            } else {
#pragma unroll
                for (int i = 0; i < COLUMNS / 64; i++)
                    tma_load(b_at + i * PANEL_BYTES, b, tile.column * COLUMNS + i * 64, k, barrier);
            }
            turn.next(ring.stages);
        }
    }
}

// Adds to the sums of 8 pairs of columns what lies from `from` on, 8 elements apart. All are loaded before the first
// is added. `left`: columns from the first pair to the end of the row.
template <class T> __device__ __forceinline__ void add_pairs(float* sums, const T* from, int left) {
    float2 terms[8];
#pragma unroll
    for (int j = 0; j < 8; j++) terms[j] = j * 8 < left ? load_pair(from + j * 8) : make_float2(0.0f, 0.0f);
#pragma unroll
    for (int j = 0; j < 8; j++) {
        sums[j * 4] = __fadd_rn(terms[j].x, sums[j * 4]);
        sums[j * 4 + 1] = __fadd_rn(terms[j].y, sums[j * 4 + 1]);
    }
}

// Adds bias, residual and y to sums of a row: pair j, sums[4 j] and the next, belongs to column + 8 j.
template <class Y>
__device__ __forceinline__ void complete(float* sums, const Output<Y>& out, int row, int column) {
    if (row >= out.m) return;
    const long long at = row * (long long)out.ldy + column;
    const int left = out.n - column;
    if (out.bias) add_pairs(sums, out.bias + column, left);
    if (out.residual) add_pairs(sums, out.residual + at, left);
    if (out.add) add_pairs(sums, out.y + at, left);
}

// The accumulators of a warp, 16 rows: lane i holds rows i / 4 and i / 4 + 8, columns 8 j + 2 (i % 4) and the next.
// `row` and `column` are those of the warp's first element.
template <int COLUMNS>
__device__ __forceinline__ void store(float (&d)[COLUMNS / 2], const Output<float>& out, const CUtensorMap*, Staging&,
                                      int row, int column) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int r = row + lane / 4 + 8 * half;
#pragma unroll
        for (int panel = 0; panel < COLUMNS / 64; panel++) {
            float* sums = d + panel * 32 + 2 * half;
            const int c = column + panel * 64 + lane % 4 * 2;
            complete(sums, out, r, c);
            float* to = out.y + r * (long long)out.ldy + c;
#pragma unroll
            for (int j = 0; j < 8; j++)
                if (r < out.m && c + j * 8 < out.n)
                    *reinterpret_cast<float2*>(to + j * 8) = make_float2(sums[j * 4], sums[j * 4 + 1]);
        }
    }
}

// The same in bf16, with TMA.
template <int COLUMNS>
__device__ __forceinline__ void store(float (&d)[COLUMNS / 2], const Output<bf16>& out, const CUtensorMap* map,
                                      Staging& staging, int row, int column) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int panel = 0; panel < COLUMNS / 64; panel++) {
        float* sums = d + panel * 32;
        const int c = column + panel * 64;
#pragma unroll
        for (int half = 0; half < 2; half++)
            complete(sums + 2 * half, out, row + lane / 4 + 8 * half, c + lane % 4 * 2);
        if (row < out.m && c < out.n) staging.store(map, sums, c, row);
    }
}

// Multiplies and stores this block's tiles. For two warpgroups.
template <class Y, int COLUMNS, Major B>
__device__ __forceinline__ void multiply_tiles(const CUtensorMap* y, const Output<Y>& out, const Ring& ring,
                                               const Tiles<COLUMNS>& tiles, int blocks, uint32_t buffers) {
    const int warp = threadIdx.x / 32 - 4, group = warp / 4;
    const uint32_t a_at = ring.buffers + group * PANEL_BYTES, b_at = ring.buffers + TILE_ROWS * 128;
    const uint64_t a = desc_k(a_at), b = B == K_MAJOR ? desc_k(b_at) : desc_mn(b_at, PANEL_BYTES);
    float d[COLUMNS / 2];
    Turn turn;
    Staging staging(buffers + warp * 2 * STAGING_BYTES);
    for (int index = blockIdx.x; index < tiles.count(); index += gridDim.x) {
        const TilePlace tile = tiles.at(index);
        multiply<COLUMNS, K_MAJOR, B>(d, ring, turn, a, b, blocks);
        store<COLUMNS>(d, out, y, staging, tile.row * TILE_ROWS + warp * 16, tile.column * COLUMNS);
    }
    if (Memory<Y, COLUMNS>::STAGED) staging.finish();
}

// y [m, n] = a · b over k; a: K-major, boxes of 64 x 128. b: [n, k], boxes of 64 x COLUMNS (K-major), or [k, n], boxes
// of 64 x 64 (MN-major). Blocks of 384 threads, as many as multiprocessors.
template <class Y, int COLUMNS, Major B>
__device__ __forceinline__ void gemm(const CUtensorMap* a, const CUtensorMap* b, const CUtensorMap* y,
                                     const Output<Y>& out, int k) {
    typedef Memory<Y, COLUMNS> Memory;
    SHARED_MEMORY(shared);
    const uint32_t base = smem_u32(shared);
    const Ring ring(base, base + Memory::BARRIERS, Memory::STAGES, Memory::BYTES);
    if (threadIdx.x == 0) {
        prefetch_map(a);
        prefetch_map(b);
        if (Memory::STAGED) prefetch_map(y);
        ring.start(CONSUMERS);
    }
    __syncthreads();
    const Tiles<COLUMNS> tiles(out.m, out.n);
    const int blocks = (k + K_BLOCK - 1) / K_BLOCK;
    // 40 registers for 128 threads and 232 for 256: what a multiprocessor has. A tile of 64 columns needs fewer.
    constexpr bool SPLIT_REGISTERS = COLUMNS > 64;
    if (threadIdx.x < 128) {
        if (SPLIT_REGISTERS) reg_dec<40>();
        if (threadIdx.x == 0) load_tiles<COLUMNS, B>(a, b, ring, tiles, blocks);
    } else {
        if (SPLIT_REGISTERS) reg_inc<232>();
        multiply_tiles<Y, COLUMNS, B>(y, out, ring, tiles, blocks, base + Memory::STAGING);
    }
}

#define F32_PARAMETERS                                                                                               \
    (const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_b, float* y,                 \
     const float* bias, const float* residual, int m, int n, int k, int ldy, int add)
#define BF16_PARAMETERS                                                                                              \
    (const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_b,                           \
     const __grid_constant__ CUtensorMap map_y, bf16* y, const float* bias, const float* residual, int m, int n,     \
     int k, int ldy, int add)
#define F32(COLUMNS, B) \
    gemm<float, COLUMNS, B>(&map_a, &map_b, nullptr, Output<float>{y, bias, residual, m, n, ldy, add}, k)
#define BF16(COLUMNS, B) \
    gemm<bf16, COLUMNS, B>(&map_a, &map_b, &map_y, Output<bf16>{y, bias, residual, m, n, ldy, add}, k)

// nt: y = a bT, b is stored as [n, k]; nn: y = a b.
KERNEL(SOLE_384, gemm_sm90a_128x256_nt_f32)F32_PARAMETERS { F32(256, K_MAJOR); }
KERNEL(SOLE_384, gemm_sm90a_128x192_nt_f32)F32_PARAMETERS { F32(192, K_MAJOR); }
KERNEL(SOLE_384, gemm_sm90a_128x128_nt_f32)F32_PARAMETERS { F32(128, K_MAJOR); }
KERNEL(384, gemm_sm90a_128x64_nt_f32)F32_PARAMETERS { F32(64, K_MAJOR); }
KERNEL(SOLE_384, gemm_sm90a_128x256_nn_f32)F32_PARAMETERS { F32(256, MN_MAJOR); }
KERNEL(SOLE_384, gemm_sm90a_128x192_nn_f32)F32_PARAMETERS { F32(192, MN_MAJOR); }
KERNEL(SOLE_384, gemm_sm90a_128x128_nn_f32)F32_PARAMETERS { F32(128, MN_MAJOR); }
KERNEL(384, gemm_sm90a_128x64_nn_f32)F32_PARAMETERS { F32(64, MN_MAJOR); }
KERNEL(SOLE_384, gemm_sm90a_128x256_nt_bf16)BF16_PARAMETERS { BF16(256, K_MAJOR); }
KERNEL(SOLE_384, gemm_sm90a_128x192_nt_bf16)BF16_PARAMETERS { BF16(192, K_MAJOR); }
KERNEL(SOLE_384, gemm_sm90a_128x128_nt_bf16)BF16_PARAMETERS { BF16(128, K_MAJOR); }
KERNEL(384, gemm_sm90a_128x64_nt_bf16)BF16_PARAMETERS { BF16(64, K_MAJOR); }
KERNEL(SOLE_384, gemm_sm90a_128x256_nn_bf16)BF16_PARAMETERS { BF16(256, MN_MAJOR); }
KERNEL(SOLE_384, gemm_sm90a_128x192_nn_bf16)BF16_PARAMETERS { BF16(192, MN_MAJOR); }
KERNEL(SOLE_384, gemm_sm90a_128x128_nn_bf16)BF16_PARAMETERS { BF16(128, MN_MAJOR); }
KERNEL(384, gemm_sm90a_128x64_nn_bf16)BF16_PARAMETERS { BF16(64, MN_MAJOR); }
