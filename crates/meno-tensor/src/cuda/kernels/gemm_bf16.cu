// Matrix products of bf16 matrices on the tensor cores. CPU: cpu/gemm.rs.
//
// An element is one chain of mma.sync over k in ascending steps of 16 from 0, whatever the tile and whichever operand
// a matrix is: its bits do not depend on the other rows. A tile passes through shared memory in stages that cp.async
// fills ahead. What lies outside a matrix is zero.
#include "gemm.cuh"

// The tile of this block: bands of 8 tiles along m, so that blocks that run at the same time share strips.
template <class S> __device__ inline void place(int m, int n, int& m0, int& n0) {
    const int down = (m + S::TM - 1) / S::TM, across = (n + S::TN - 1) / S::TN;
    const int band = blockIdx.x / (8 * across), inside = blockIdx.x % (8 * across);
    const int height = min(down - band * 8, 8);
    m0 = (band * 8 + inside % height) * S::TM;
    n0 = inside / height * S::TN;
}

// out = a b over k from blockIdx.y * span to (blockIdx.y + 1) * span.
template <class S, bool A_ADJACENT, bool B_ADJACENT, bool SWAPPED, class Y>
__device__ inline void gemm(Output<Y> out, Matrix a, Matrix b, int k, int span) {
    typedef Tile<S::TM, S::TK, A_ADJACENT> TileA;
    typedef Tile<S::TN, S::TK, B_ADJACENT> TileB;
    constexpr int STAGE = TileA::BYTES + TileB::BYTES;
    SHARED_MEMORY(shared);
    const uint32_t stages = smem_u32(shared);
    int m0, n0;
    place<S>(a.count, b.count, m0, n0);
    const int warp = threadIdx.x / 32, m = warp % (S::TM / S::WM) * S::WM, n = warp / (S::TM / S::WM) * S::WN;
    const int k_begin = blockIdx.y * span, k_end = min(k - k_begin, span) + k_begin;
    // Every tile takes whole blocks of 64: the same number of steps of 16.
    const int steps = (k_end - k_begin + 63) / 64 * (64 / S::TK);
    const auto load = [&](int step, int stage) {
        const uint32_t tile = stages + stage * STAGE;
        const int k0 = k_begin + step * S::TK;
        TileA::template load<S::THREADS>(tile, a, m0, k0, k_end);
        TileB::template load<S::THREADS>(tile + TileA::BYTES, b, n0, k0, k_end);
    };
    float sum[S::WM / 16][S::WN / 8][4] = {};
#pragma unroll
    for (int stage = 0; stage < S::STAGES - 1; stage++) {
        if (stage < steps) load(stage, stage);
        cp_async_commit();
    }
    int use = 0, fill = S::STAGES - 1;
    for (int step = 0; step < steps; step++) {
        cp_async_wait<S::STAGES - 2>();
        __syncthreads();  // the stage is filled, and the one before is used
        if (step + S::STAGES - 1 < steps) load(step + S::STAGES - 1, fill);
        cp_async_commit();
        const uint32_t tile = stages + use * STAGE;
        multiply<S, TileA, TileB>(sum, tile, tile + TileA::BYTES, m, n);
        use = use + 1 == S::STAGES ? 0 : use + 1;
        fill = fill + 1 == S::STAGES ? 0 : fill + 1;
    }
    if (SWAPPED)
        store_swapped<S>(out, sum, m0 + m, n0 + n, a.count, b.count);
    else
        store<S>(out, sum, m0 + m, n0 + n, a.count, b.count);
}

// Forms: nt is y = x wT, nn is dx = dy w, tn is dw = dyT x. span: the length of k of a block. With several spans (tn
// only), block row s writes its sums to y + s * m * ldy.
template <class S, bool A_ADJACENT, bool B_ADJACENT, class Y>
__device__ inline void many_rows(Y* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb,
                                          int ldy, const float* bias, const float* residual, int add, int span,
                                          int pairs) {
    const Output<Y> out = {y + blockIdx.y * (m * (long long)ldy), bias, residual, ldy, add, pairs};
    const Matrix rows = {a, lda, m}, columns = {b, ldb, n};
    gemm<S, A_ADJACENT, B_ADJACENT, false>(out, rows, columns, k, span);
}
// With few rows, b (the weight) has the rows of the tensor cores' product and a the columns.
template <class S, bool A_ADJACENT, bool B_ADJACENT, class Y>
__device__ inline void few_rows(Y* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb,
                                         int ldy, const float* bias, const float* residual, int add, int span,
                                         int pairs) {
    const Output<Y> out = {y, bias, residual, ldy, add, pairs};
    const Matrix rows = {b, ldb, n}, columns = {a, lda, m};
    gemm<S, B_ADJACENT, A_ADJACENT, true>(out, rows, columns, k, span);
}

// The shapes have the names of the tiles of y in the names of kernels: rows x columns.
typedef Shape<128, 128, 64, 64, 32, 4> Large;
typedef Shape<64, 64, 32, 32, 32, 4> Medium;
typedef Shape<16, 8, 16, 8, 64, 12> Few8x16;
typedef Shape<16, 32, 16, 32, 64, 8> Few32x16;
typedef Shape<16, 64, 16, 64, 64, 6> Few64x16;
typedef Shape<64, 8, 16, 8, 64, 6> Few8x64;
typedef Shape<64, 32, 16, 32, 64, 5> Few32x64;
typedef Shape<64, 64, 16, 64, 64, 4> Few64x64;

KERNEL(128, gemm_bf16_128x128_nt_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    many_rows<Large, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_128x128_nt_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    many_rows<Large, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_128x128_nn_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    many_rows<Large, true, false>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_128x128_nn_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    many_rows<Large, true, false>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_128x128_tn_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    many_rows<Large, false, false>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}

KERNEL(128, gemm_bf16_64x64_nt_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    many_rows<Medium, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_64x64_nt_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    many_rows<Medium, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_64x64_nn_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    many_rows<Medium, true, false>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_64x64_nn_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    many_rows<Medium, true, false>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_64x64_tn_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    many_rows<Medium, false, false>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}

KERNEL(32, gemm_bf16_few_8x16_nt_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few8x16, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(32, gemm_bf16_few_8x16_nt_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few8x16, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}

KERNEL(32, gemm_bf16_few_32x16_nt_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few32x16, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(32, gemm_bf16_few_32x16_nt_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few32x16, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}

KERNEL(32, gemm_bf16_few_64x16_nt_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few64x16, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(32, gemm_bf16_few_64x16_nt_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few64x16, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}

KERNEL(128, gemm_bf16_few_8x64_nt_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few8x64, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_few_8x64_nt_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few8x64, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_few_8x64_nn_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few8x64, true, false>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_few_8x64_nn_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few8x64, true, false>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}

KERNEL(128, gemm_bf16_few_32x64_nt_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few32x64, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_few_32x64_nt_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few32x64, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_few_32x64_nn_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few32x64, true, false>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_few_32x64_nn_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few32x64, true, false>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}

KERNEL(128, gemm_bf16_few_64x64_nt_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few64x64, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_few_64x64_nt_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few64x64, true, true>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_few_64x64_nn_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few64x64, true, false>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
KERNEL(128, gemm_bf16_few_64x64_nn_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int lda, int ldb, int ldy, const float* bias,
 const float* residual, int add, int span, int pairs) {
    few_rows<Few64x64, true, false>(y, a, b, m, n, k, lda, ldb, ldy, bias, residual, add, span, pairs);
}
