// The products of experts whose matrices stay quantized, for rows of bf16. Rust: cuda/ops/experts/quantized.rs.
// CPU: cpu/ops/experts.rs, which rounds x to 8 bits instead.
//
// A result has the bits of experts_mma.cu with the matrix in bf16: one chain of mma.sync over k in ascending steps of
// 16 from 0.
#include "experts.cuh"
#include "quant.cuh"

// A warp has a strip of 16 rows of w, as the rows of the tensor cores' product; its columns are the rows of x. So the
// elements of w go from a record to registers, once for a tile. A stage has 64 k: the rows of x, in whole pieces of 16,
// and a record for each warp. ops/experts/quantized.rs has the bytes of all stages.
constexpr int STAGES = 6, ROWS = 64, PIECE = 16;

// The sums of a lane for each 8 rows of x: those of w are lane / 4 and lane / 4 + 8, of x 2 (lane % 4) and the next.
typedef float Sums[ROWS / 8][4];

// An expert's matrix of n rows.
template <class Q>
__device__ __forceinline__ Blocks<Q> blocks_of(const byte* const* experts, int expert, int n, int k) {
    Blocks<Q> w = {experts[expert], nullptr, n, (k + 63) / 64};
    w.supers = w.record(w.tiles(), 0);
    return w;
}

// Multiplies `rows` rows of x with the warp's strip. A strip behind the last is computed like that one.
template <class Q>
__device__ __forceinline__ void multiply(Sums& sums, const bf16* x, int rows, const Blocks<Q>& w, int strip, int k) {
    constexpr int RECORD = Q::BYTES + Q::SUPERS;
    SHARED_MEMORY(shared);
    const uint32_t stages = smem_u32(shared);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, low = lane / 8 % 2, high = lane / 16;
    const int x_bytes = (rows + PIECE - 1) / PIECE * PIECE * 128, at = x_bytes + warp * RECORD;
    const int stage_bytes = x_bytes + (blockDim.x / 32 * RECORD + 127) / 128 * 128;
    strip = min(strip, w.tiles() - 1);
    const auto load = [&](int chunk, int stage) {
        const uint32_t to = stages + stage * stage_bytes;
        for (int i = threadIdx.x; i < x_bytes / 16; i += blockDim.x) {
            const int row = i / 8, column = chunk * 64 + i % 8 * 8;
            const bool exists = row < rows && column < k;
            cp_async16(to + swz(row, i % 8), x + (exists ? row * (long long)k + column : 0), exists ? 16 : 0);
        }
        load_record(to + at, w, strip, chunk);
    };
    for_chunks<STAGES>(w.chunks, load, [&](int stage) {
        const uint32_t x_tile = stages + stage * stage_bytes;
        const byte* record = shared + stage * stage_bytes + at;
        Q codes;
        codes.load(record, record + Q::BYTES, lane);
#pragma unroll
        for (int step = 0; step < 4; step++) {
            uint32_t a[4];
            fragment(a, codes, step);
#pragma unroll
            for (int piece = 0; piece < ROWS / PIECE; piece++) {
                if (piece * PIECE >= rows) continue;
                uint32_t b[4];
                ldsm4(b, x_tile + swz(piece * PIECE + high * 8 + lane % 8, step * 2 + low));
                mma16816(sums[piece * 2], a[0], a[1], a[2], a[3], b[0], b[1]);
                mma16816(sums[piece * 2 + 1], a[0], a[1], a[2], a[3], b[2], b[3]);
            }
        }
    });
}

// Calls store(row, col, j, half) for pairs of adjacent rows of x, from `row` on, and a row of w that has results; the
// pair is sums[j][2 * half] and the next.
template <class Store> __device__ __forceinline__ void for_pairs(int rows, int cols, int strip, Store store) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < ROWS / 8; j++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = j * 8 + lane % 4 * 2, col = strip * 16 + half * 8 + lane / 4;
            if (row < rows && col < cols) store(row, col, j, half);
        }
}

// y = x . w transposed, w [n][k]. Rows of y start `ldy` values apart. Grid: strips, tiles.
template <class Q>
__device__ __forceinline__ void forward(bf16* y, const bf16* x, const byte* const* experts, const Tile* tiles, int n,
                                        int k, int ldy) {
    const Tile tile = tiles[blockIdx.y];
    if (tile.rows == 0) return;
    const int strip = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    Sums sums = {};
    multiply(sums, x + tile.first * (long long)k, tile.rows, blocks_of<Q>(experts, tile.expert, n, k), strip, k);
    y += tile.first * (long long)ldy;
    for_pairs(tile.rows, n, strip, [&](int row, int col, int j, int half) {
        bf16* to = y + row * (long long)ldy + col;
        to[0] = from_float<bf16>(sums[j][half * 2]);
        if (row + 1 < tile.rows) to[ldy] = from_float<bf16>(sums[j][half * 2 + 1]);
    });
}

// h = silu(x . gate transposed) * (x . up transposed), each rounded to bf16 first; gate, up [width][k]. Of two adjacent
// warps, the first has a strip of gate and the second that of up. Grid: strips of both, tiles.
template <class Q>
__device__ __forceinline__ void swiglu(bf16* h, const bf16* x, const byte* const* gate, const byte* const* up,
                                       const Tile* tiles, int width, int k) {
    const Tile tile = tiles[blockIdx.y];
    if (tile.rows == 0) return;
    const int warp = threadIdx.x / 32, strip = (blockIdx.x * (blockDim.x / 32) + warp) / 2;
    const bool is_up = warp % 2;
    const Blocks<Q> w = blocks_of<Q>(is_up ? up : gate, tile.expert, width, k);
    Sums sums = {};
    multiply(sums, x + tile.first * (long long)k, tile.rows, w, strip, k);
    __syncthreads();  // the stages have been read, and are room for up's results
    SHARED_MEMORY(shared);
    uint32_t* ups = reinterpret_cast<uint32_t*>(shared) + warp / 2 * (16 * 32) + threadIdx.x % 32;
    if (is_up) {
#pragma unroll
        for (int i = 0; i < 16; i++) ups[i * 32] = pack2(sums[i / 2][i % 2 * 2], sums[i / 2][i % 2 * 2 + 1]);
    }
    __syncthreads();
    if (is_up) return;
    h += tile.first * (long long)width;
    for_pairs(tile.rows, width, strip, [&](int row, int col, int j, int half) {
        const uint32_t g = pack2(sums[j][half * 2], sums[j][half * 2 + 1]), u = ups[(j * 2 + half) * 32];
        bf16* to = h + row * (long long)width + col;
        to[0] = from_float<bf16>(swiglu_of(unpack_low(g), unpack_low(u)));
        if (row + 1 < tile.rows) to[width] = from_float<bf16>(swiglu_of(unpack_high(g), unpack_high(u)));
    });
}

#define FORWARD(Q)                                                                                                  \
    (bf16* y, const bf16* x, const byte* const* experts, const Tile* tiles, int n, int k, int ldy) {                \
        forward<Q>(y, x, experts, tiles, n, k, ldy);                                                                \
    }
#define SWIGLU(Q)                                                                                                   \
    (bf16* h, const bf16* x, const byte* const* gate, const byte* const* up, const Tile* tiles, int width, int k) { \
        swiglu<Q>(h, x, gate, up, tiles, width, k);                                                                 \
    }

KERNEL(256, experts_quant_forward_q4_0)FORWARD(Q4_0)
KERNEL(256, experts_quant_forward_q5_0)FORWARD(Q5_0)
KERNEL(256, experts_quant_forward_q8_0)FORWARD(Q8_0)
KERNEL(256, experts_quant_forward_q4_k)FORWARD(Q4_K)
KERNEL(256, experts_quant_forward_q6_k)FORWARD(Q6_K)
KERNEL(256, experts_quant_forward_fp8)FORWARD(Fp8)

KERNEL(256, experts_quant_swiglu_q4_0)SWIGLU(Q4_0)
KERNEL(256, experts_quant_swiglu_q5_0)SWIGLU(Q5_0)
KERNEL(256, experts_quant_swiglu_q8_0)SWIGLU(Q8_0)
KERNEL(256, experts_quant_swiglu_q4_k)SWIGLU(Q4_K)
KERNEL(256, experts_quant_swiglu_q6_k)SWIGLU(Q6_K)
KERNEL(256, experts_quant_swiglu_fp8)SWIGLU(Fp8)
