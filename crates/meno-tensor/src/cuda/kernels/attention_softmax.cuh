// The softmax of attention on tensor cores, for a warp. All kernels of the forward pass share it: with the same scores,
// they have the same bits.
//
// A lane holds two rows of a product, lane / 4 and lane / 4 + 8. Number [i][e], or 4 i + e, is row
// lane / 4 + 8 (e / 2), column 8 i + 2 (lane % 4) + e % 2.
#pragma once
#include "attention.cuh"

namespace {

// The maximum and the sum over the four lanes that hold a row.
__device__ inline float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
__device__ inline float quad_sum(float x) {
    x = __fadd_rn(x, __shfl_xor_sync(~0u, x, 1));
    return __fadd_rn(x, __shfl_xor_sync(~0u, x, 2));
}

// A score in the accumulators of mma.sync, and of wgmma.
__device__ __forceinline__ float& score(float (&s)[KEYS / 8][4], int i, int e) { return s[i][e]; }
__device__ __forceinline__ float& score(float (&s)[KEYS / 2], int i, int e) { return s[4 * i + e]; }

// Hides the keys of a block from key `first` on that a lane's rows do not see: row h sees the first seen[h].
template <class Scores> __device__ __forceinline__ void hide_keys(Scores& s, int first, const int (&seen)[2]) {
    if (first + KEYS <= seen[0]) return;
#pragma unroll
    for (int i = 0; i < KEYS / 8; i++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (first + 8 * i + 2 * (threadIdx.x % 4) + e % 2 >= seen[e / 2]) score(s, i, e) = -INFINITY;
}

// The largest score of a block in row h, times factor.
template <class Scores> __device__ __forceinline__ float largest_score(Scores& s, int h, float factor) {
    float most = -INFINITY;
#pragma unroll
    for (int i = 0; i < KEYS / 8; i++) most = fmaxf(most, fmaxf(score(s, i, 2 * h), score(s, i, 2 * h + 1)));
    return __fmul_rn(quad_max(most), factor);
}

// Turns the scores of a block in row h into probabilities relative to `largest`; returns this lane's part of their sum.
template <class Scores>
__device__ __forceinline__ float exponentials(Scores& s, int h, float factor, float largest) {
    float even = 0.0f, odd = 0.0f;
#pragma unroll
    for (int i = 0; i < KEYS / 8; i++) {
        float &a = score(s, i, 2 * h), &b = score(s, i, 2 * h + 1);
        a = ex2(__fmaf_rn(a, factor, -largest));
        b = ex2(__fmaf_rn(b, factor, -largest));
        even = __fadd_rn(even, a);
        odd = __fadd_rn(odd, b);
    }
    return __fadd_rn(even, odd);
}

// The softmax of the two rows of a lane so far: the largest score times factor, this lane's part of the sum of
// exponentials, and the factor for sums of earlier blocks.
struct Softmax {
    float largest[2], sum[2], rescale[2];

    __device__ __forceinline__ void start() {
#pragma unroll
        for (int h = 0; h < 2; h++) largest[h] = -INFINITY, sum[h] = rescale[h] = 0.0f;
    }
    // Takes the largest score of the next block, times factor.
    __device__ __forceinline__ void raise(int h, float block_largest) {
        const float now = fmaxf(largest[h], block_largest);
        rescale[h] = ex2(__fsub_rn(largest[h], now));
        largest[h] = now;
    }
    // Takes this lane's part of the next block's sum.
    __device__ __forceinline__ void add(int h, float part) { sum[h] = __fmaf_rn(sum[h], rescale[h], part); }

    // Takes a block of scores, which become probabilities. A row whose keys are all hidden (-infinity) stays as it is.
    template <class Scores> __device__ __forceinline__ void add_block(Scores& s, float factor) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            raise(h, largest_score(s, h, factor));
            add(h, exponentials(s, h, factor, largest[h]));
        }
    }

    // The log-sum-exp of a row whose exponentials have this sum.
    __device__ __forceinline__ float log_sum_exp(int h, float total) const {
        return __fmul_rn(__fadd_rn(largest[h], lg2(total)), LN_2);
    }
};

}  // namespace
