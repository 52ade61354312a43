// The two products of attention in f32, for a block of 8 warps: a tile of vectors in shared memory times vectors that
// stream through it. Each sum is one chain of fused multiply-adds, whatever the tile.
#pragma once
#include "attention.cuh"

namespace {

constexpr int WARPS = 8;
// Columns of a chunk of streamed vectors, and its row distance: rows start at different banks.
constexpr int CHUNK = 32, CHUNK_LD = CHUNK + 4;
// Streamed vectors of a step of the weighted sum.
constexpr int STEP = 16;

// The floats of a chunk buffer for weighted sums of 32 * N columns.
template <int N>
constexpr int CHUNK_FLOATS = KEYS * CHUNK_LD > STEP * 32 * N ? KEYS * CHUNK_LD : STEP * 32 * N;

__device__ inline int padded(int dim) { return (dim + CHUNK - 1) / CHUNK * CHUNK; }

// Copies `COUNT` vectors from number `first`, columns col .. col + width; zero beyond `end` and `dim`.
template <int COUNT, class Stream>
__device__ void load_vectors(float* to, int ld, const Stream& stream, int first, int end, int col, int width, int dim) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll 4
    for (int i = warp; i < COUNT; i += WARPS) {
        const bool inside = first + i < end;
        const auto row = stream.row(inside ? first + i : first);
        for (int c = lane; c < width; c += 32) to[i * ld + c] = inside && col + c < dim ? load(row, col + c) : 0.0f;
    }
}

// sum + a · b, in order.
__device__ inline float chain(float sum, float4 a, float4 b) {
    sum = __fmaf_rn(a.y, b.y, __fmaf_rn(a.x, b.x, sum));
    return __fmaf_rn(a.w, b.w, __fmaf_rn(a.z, b.z, sum));
}

// s[r][e] = tile row (of this warp) r · streamed vector first + lane + 32 e. The rows of the tile are `padded(dim)`
// long. A warp that is not active only helps to copy.
template <int R, class Stream>
__device__ void dots(float (&s)[R][2], const float* tile, const Stream& stream, int first, int end, int dim,
                     float* chunk, bool active) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, ld = padded(dim);
#pragma unroll
    for (int r = 0; r < R; r++) s[r][0] = s[r][1] = 0.0f;
    for (int col = 0; col < dim; col += CHUNK) {
        load_vectors<KEYS>(chunk, CHUNK_LD, stream, first, end, col, CHUNK, dim);
        __syncthreads();
        if (active) {
#pragma unroll
            for (int d = 0; d < CHUNK; d += 4) {
                const float4 x = *(const float4*)(chunk + lane * CHUNK_LD + d);
                const float4 y = *(const float4*)(chunk + (lane + 32) * CHUNK_LD + d);
#pragma unroll
                for (int r = 0; r < R; r++) {
                    const float4 a = *(const float4*)(tile + (warp * R + r) * ld + col + d);
                    s[r][0] = chain(s[r][0], a, x);
                    s[r][1] = chain(s[r][1], a, y);
                }
            }
        }
        __syncthreads();
    }
}

// sum[r][c] += weights[r][j] * streamed vector first + j, column col + lane + 32 c, for j in 0..64 ascending. The
// weights are this warp's, `[R][64]`.
template <int R, int N, class Stream>
__device__ void add_weighted(float (&sum)[R][N], const float* weights, const Stream& stream, int first, int end,
                             int col, int dim, float* chunk, bool active) {
    const int lane = threadIdx.x % 32;
    for (int start = 0; start < KEYS && first + start < end; start += STEP) {
        load_vectors<STEP>(chunk, 32 * N, stream, first + start, end, col, 32 * N, dim);
        __syncthreads();
        if (active) {
#pragma unroll
            for (int j = 0; j < STEP; j += 4) {
                float4 w[R];
#pragma unroll
                for (int r = 0; r < R; r++) w[r] = *(const float4*)(weights + r * KEYS + start + j);
#pragma unroll
                for (int c = 0; c < N; c++) {
                    const float* x = chunk + j * 32 * N + 32 * c + lane;
                    const float x0 = x[0], x1 = x[32 * N], x2 = x[64 * N], x3 = x[96 * N];
#pragma unroll
                    for (int r = 0; r < R; r++) {
                        const float s = __fmaf_rn(w[r].y, x1, __fmaf_rn(w[r].x, x0, sum[r][c]));
                        sum[r][c] = __fmaf_rn(w[r].w, x3, __fmaf_rn(w[r].z, x2, s));
                    }
                }
            }
        }
        __syncthreads();
    }
}

__device__ inline float warp_max(float x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, distance));
    return x;
}
__device__ inline float warp_sum(float x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) x = __fadd_rn(x, __shfl_xor_sync(~0u, x, distance));
    return x;
}

}  // namespace
