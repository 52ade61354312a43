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

// The softmax of the two rows of a lane so far: the largest score times factor, this lane's part of the sum of
// exponentials, and the factor for sums of earlier blocks.
struct Softmax {
    float largest[2], sum[2], rescale[2];

    __device__ __forceinline__ void start() {
#pragma unroll
        for (int h = 0; h < 2; h++) largest[h] = -INFINITY, sum[h] = rescale[h] = 0.0f;
    }

    // Takes a block of scores, which become probabilities. A row whose keys are all masked (-infinity) stays as it is.
    template <class Scores> __device__ __forceinline__ void add_block(Scores& s, float factor) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float most = -INFINITY, even = 0.0f, odd = 0.0f;
#pragma unroll
            for (int i = 0; i < KEYS / 8; i++) most = fmaxf(most, fmaxf(score(s, i, 2 * h), score(s, i, 2 * h + 1)));
            const float now = fmaxf(largest[h], __fmul_rn(quad_max(most), factor));
            rescale[h] = ex2(__fsub_rn(largest[h], now));
            largest[h] = now;
#pragma unroll
            for (int i = 0; i < KEYS / 8; i++) {
                float &a = score(s, i, 2 * h), &b = score(s, i, 2 * h + 1);
                a = ex2(__fmaf_rn(a, factor, -now));
                b = ex2(__fmaf_rn(b, factor, -now));
                even = __fadd_rn(even, a);
                odd = __fadd_rn(odd, b);
            }
            sum[h] = __fmaf_rn(sum[h], rescale[h], __fadd_rn(even, odd));
        }
    }

    // The log-sum-exp of a row whose exponentials have this sum.
    __device__ __forceinline__ float log_sum_exp(int h, float total) const {
        return __fmul_rn(__fadd_rn(largest[h], lg2(total)), LN_2);
    }
};

}  // namespace
