// Products of bf16 rows with quantized matrices, y = x wT, and the matrices themselves in bf16.
// CPU: cpu/quant.rs, which rounds x to 8 bits instead.
//
// The value of an element of w is rounded to bf16. A product has the bits of gemm_bf16.cu with that matrix: one chain
// of mma.sync over k in ascending steps of 16 from 0.
#include "gemm.cuh"
#include "quant.cuh"

// Starts the copies of 64 k of the rows of x by the block.
template <int COLS> __device__ __forceinline__ void load_x(uint32_t to, Matrix x, int k0, int k) {
    for (int i = threadIdx.x; i < COLS * 8; i += blockDim.x) {
        const int row = i / 8, column = k0 + i % 8 * 8;
        const int bytes = row < x.count ? min(max((k - column) * 2, 0), 16) : 0;
        const bf16* from = x.at + row * (long long)x.ld + column;
        cp_async16(to + Tile<COLS, 64, true>::offset(row, i % 8), bytes > 0 ? from : x.at, bytes);
    }
}

// For at most COLS rows of x. A warp has 16 rows of w as the rows of the tensor cores' product; a block reads w once.
// A stage has 64 k: the rows of x, and a record for each warp.
template <class Q, int COLS, int STAGES, class Y>
__device__ inline void few_rows(const Output<Y>& out, const Blocks<Q>& w, Matrix x, int k) {
    typedef Tile<COLS, 64, true> TileX;
    constexpr int RECORD = Q::BYTES + Q::SUPERS;
    SHARED_MEMORY(shared);
    const uint32_t stages = smem_u32(shared);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int stage_bytes = TileX::BYTES + (warps * RECORD + 127) / 128 * 128, at = TileX::BYTES + warp * RECORD;
    // The last block may have warps without rows.
    const int own = blockIdx.x * warps + warp, tile = min(own, w.tiles() - 1);
    const auto load = [&](int chunk, int stage) {
        load_x<COLS>(stages + stage * stage_bytes, x, chunk * 64, k);
        load_record(stages + stage * stage_bytes + at, w, tile, chunk);
    };
    float sum[1][COLS / 8][4] = {};
    for_chunks<STAGES>(w.chunks, load, [&](int stage) {
        const byte* record = shared + stage * stage_bytes + at;
        Q codes;
        codes.load(record, record + Q::BYTES, lane);
#pragma unroll
        for (int step = 0; step < 4; step++) {
            uint32_t a[4], b[COLS / 8][2];
            load_columns<COLS, TileX>(b, stages + stage * stage_bytes, 0, step * 16);
            fragment(a, codes, step);
#pragma unroll
            for (int j = 0; j < COLS / 8; j++) mma16816(sum[0][j], a[0], a[1], a[2], a[3], b[j][0], b[j][1]);
        }
    });
    store_swapped<Shape<16, COLS, 16, COLS, 64, STAGES>>(out, sum, own * 16, 0, w.n, x.count);
}

// y = w in bf16, for `tiles` tiles of rows. A warp has a record; it sorts the elements in shared memory, so that it
// writes whole rows of 128 bytes.
template <class Q> __device__ inline void dequantize(bf16* y, const Blocks<Q>& w, int cols, int ldy) {
    constexpr int ROW = 64 * 2 + 16;  // bytes, with room that spreads the rows over the banks
    __shared__ __align__(16) byte all[8][16 * ROW];
    const int lane = threadIdx.x % 32;
    byte* rows = all[threadIdx.x / 32];
    const int index = blockIdx.x * 8 + threadIdx.x / 32, tile = index / w.chunks, chunk = index % w.chunks;
    if (tile >= w.tiles()) return;
    Q codes;
    codes.load(w.record(tile, chunk), w.super(tile, chunk), lane);
#pragma unroll
    for (int step = 0; step < 4; step++) {
        uint32_t a[4];
        fragment(a, codes, step);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = lane / 4 + i % 2 * 8, column = step * 16 + i / 2 * 8 + lane % 4 * 2;
            *reinterpret_cast<uint32_t*>(rows + row * ROW + column * 2) = a[i];
        }
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int r = i * 4 + lane / 8, row = tile * 16 + r, column = chunk * 64 + lane % 8 * 8;
        if (row >= w.n || column >= cols) continue;
        const uint4 eight = *reinterpret_cast<const uint4*>(rows + r * ROW + lane % 8 * 16);
        *reinterpret_cast<uint4*>(y + row * (long long)ldy + column) = eight;
    }
}

// The stages of the kernels for so many rows of x.
template <int COLS> constexpr int STAGES = COLS == 8 ? 12 : COLS == 32 ? 8 : 6;

// y: [m, n]. x: [m, k], rows start at multiples of 16 bytes.
#define PARAMETERS(Y)                                                                                              \
    (Y* y, const bf16* x, const byte* records, const byte* supers, int m, int n, int k, int chunks, int ldx, int ldy, \
     const float* bias, const float* residual, int add)
#define FEW(Q, COLS, Y)                                                                                               \
    few_rows<Q, COLS, STAGES<COLS>>(Output<Y>{y, bias, residual, ldy, add, 0}, Blocks<Q>{records, supers, n, chunks}, \
                                    Matrix{x, ldx, m}, k)
#define DEQUANTIZE(Q)                                                                                    \
    (bf16* y, const byte* records, const byte* supers, int n, int cols, int chunks, int ldy) {           \
        dequantize(y, Blocks<Q>{records, supers, n, chunks}, cols, ldy);                                 \
    }

KERNEL(128, gemm_quant_8_q4_0_f32)PARAMETERS(float) { FEW(Q4_0, 8, float); }
KERNEL(128, gemm_quant_8_q4_0_bf16)PARAMETERS(bf16) { FEW(Q4_0, 8, bf16); }
KERNEL(128, gemm_quant_32_q4_0_f32)PARAMETERS(float) { FEW(Q4_0, 32, float); }
KERNEL(128, gemm_quant_32_q4_0_bf16)PARAMETERS(bf16) { FEW(Q4_0, 32, bf16); }
KERNEL(128, gemm_quant_64_q4_0_f32)PARAMETERS(float) { FEW(Q4_0, 64, float); }
KERNEL(128, gemm_quant_64_q4_0_bf16)PARAMETERS(bf16) { FEW(Q4_0, 64, bf16); }

KERNEL(128, gemm_quant_8_q5_0_f32)PARAMETERS(float) { FEW(Q5_0, 8, float); }
KERNEL(128, gemm_quant_8_q5_0_bf16)PARAMETERS(bf16) { FEW(Q5_0, 8, bf16); }
KERNEL(128, gemm_quant_32_q5_0_f32)PARAMETERS(float) { FEW(Q5_0, 32, float); }
KERNEL(128, gemm_quant_32_q5_0_bf16)PARAMETERS(bf16) { FEW(Q5_0, 32, bf16); }
KERNEL(128, gemm_quant_64_q5_0_f32)PARAMETERS(float) { FEW(Q5_0, 64, float); }
KERNEL(128, gemm_quant_64_q5_0_bf16)PARAMETERS(bf16) { FEW(Q5_0, 64, bf16); }

KERNEL(128, gemm_quant_8_q8_0_f32)PARAMETERS(float) { FEW(Q8_0, 8, float); }
KERNEL(128, gemm_quant_8_q8_0_bf16)PARAMETERS(bf16) { FEW(Q8_0, 8, bf16); }
KERNEL(128, gemm_quant_32_q8_0_f32)PARAMETERS(float) { FEW(Q8_0, 32, float); }
KERNEL(128, gemm_quant_32_q8_0_bf16)PARAMETERS(bf16) { FEW(Q8_0, 32, bf16); }
KERNEL(128, gemm_quant_64_q8_0_f32)PARAMETERS(float) { FEW(Q8_0, 64, float); }
KERNEL(128, gemm_quant_64_q8_0_bf16)PARAMETERS(bf16) { FEW(Q8_0, 64, bf16); }

KERNEL(128, gemm_quant_8_q4_k_f32)PARAMETERS(float) { FEW(Q4_K, 8, float); }
KERNEL(128, gemm_quant_8_q4_k_bf16)PARAMETERS(bf16) { FEW(Q4_K, 8, bf16); }
KERNEL(128, gemm_quant_32_q4_k_f32)PARAMETERS(float) { FEW(Q4_K, 32, float); }
KERNEL(128, gemm_quant_32_q4_k_bf16)PARAMETERS(bf16) { FEW(Q4_K, 32, bf16); }
KERNEL(128, gemm_quant_64_q4_k_f32)PARAMETERS(float) { FEW(Q4_K, 64, float); }
KERNEL(128, gemm_quant_64_q4_k_bf16)PARAMETERS(bf16) { FEW(Q4_K, 64, bf16); }

KERNEL(128, gemm_quant_8_q6_k_f32)PARAMETERS(float) { FEW(Q6_K, 8, float); }
KERNEL(128, gemm_quant_8_q6_k_bf16)PARAMETERS(bf16) { FEW(Q6_K, 8, bf16); }
KERNEL(128, gemm_quant_32_q6_k_f32)PARAMETERS(float) { FEW(Q6_K, 32, float); }
KERNEL(128, gemm_quant_32_q6_k_bf16)PARAMETERS(bf16) { FEW(Q6_K, 32, bf16); }
KERNEL(128, gemm_quant_64_q6_k_f32)PARAMETERS(float) { FEW(Q6_K, 64, float); }
KERNEL(128, gemm_quant_64_q6_k_bf16)PARAMETERS(bf16) { FEW(Q6_K, 64, bf16); }

KERNEL(128, gemm_quant_8_fp8_f32)PARAMETERS(float) { FEW(Fp8, 8, float); }
KERNEL(128, gemm_quant_8_fp8_bf16)PARAMETERS(bf16) { FEW(Fp8, 8, bf16); }
KERNEL(128, gemm_quant_32_fp8_f32)PARAMETERS(float) { FEW(Fp8, 32, float); }
KERNEL(128, gemm_quant_32_fp8_bf16)PARAMETERS(bf16) { FEW(Fp8, 32, bf16); }
KERNEL(128, gemm_quant_64_fp8_f32)PARAMETERS(float) { FEW(Fp8, 64, float); }
KERNEL(128, gemm_quant_64_fp8_bf16)PARAMETERS(bf16) { FEW(Fp8, 64, bf16); }

KERNEL(256, dequantize_q4_0)DEQUANTIZE(Q4_0)
KERNEL(256, dequantize_q5_0)DEQUANTIZE(Q5_0)
KERNEL(256, dequantize_q8_0)DEQUANTIZE(Q8_0)
KERNEL(256, dequantize_q4_k)DEQUANTIZE(Q4_K)
KERNEL(256, dequantize_q6_k)DEQUANTIZE(Q6_K)
KERNEL(256, dequantize_fp8)DEQUANTIZE(Fp8)
