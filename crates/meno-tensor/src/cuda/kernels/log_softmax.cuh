// The arithmetic of the log-softmax of a row, for the loss head (head.cu) and for sampling (sampling.cu).
// cuda/log_softmax.rs has the same arithmetic for the host.
#pragma once
#include "device.cuh"

// e^d of d = z - max <= 0, to 2 ulp; 0 and d = 0 where e^d is below the smallest normal number, so that e * d is 0 too.
// NaN stays NaN. Only fused multiply-adds, sums and products, for the same bits on the host.
__device__ __forceinline__ float exp_of_distance(float& d) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
    const bool tiny = d < -87.3f;
    const float shifted = __fmaf_rn(d, 1.44269504f, magic);
    const float n = __fsub_rn(shifted, magic);
    const float r = __fmaf_rn(n, 2.1219444e-4f, __fmaf_rn(n, -0.6933594f, d));
    float p = 1.9875691e-4f;
    p = __fmaf_rn(p, r, 1.3981999e-3f);
    p = __fmaf_rn(p, r, 8.333452e-3f);
    p = __fmaf_rn(p, r, 4.1665796e-2f);
    p = __fmaf_rn(p, r, 1.6666665e-1f);
    p = __fmaf_rn(p, r, 0.5f);
    p = __fadd_rn(__fmaf_rn(__fmul_rn(p, r), r, r), 1.0f);
    const float power = __uint_as_float((__float_as_uint(shifted) << 23) + (127u << 23));
    d = tiny ? 0.0f : d;
    return tiny ? 0.0f : __fmul_rn(p, power);
}

// z - max: two roundings, as in LogSoftmax::logprob.
__device__ __forceinline__ float distance(float logit, float inv_temperature, float max) {
    return __fsub_rn(__fmul_rn(logit, inv_temperature), max);
}

// Lanes of the sums over a row. Thread l is lane l; a row shorter than that has fewer threads, whole warps.
constexpr int LANES = 512;

// The largest value of all threads, in every thread. The order has no influence; a NaN counts as nothing.
__device__ inline float largest_of_row(float value) {
    __shared__ float largest[LANES / 32];
    for (int distance = 16; distance > 0; distance /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
    if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = value;
    __syncthreads();
    for (int warp = 0; warp < blockDim.x / 32; warp++) value = fmaxf(value, largest[warp]);
    return value;
}

// Adds part[width..2 width] to part[0..width], then the same with half the width, down to part[0].
template <int width> __device__ __forceinline__ void add_upper_half(float2* part) {
#pragma unroll
    for (int i = 0; i < width; i++) {
        part[i].x = __fadd_rn(part[i].x, part[i + width].x);
        part[i].y = __fadd_rn(part[i].y, part[i + width].y);
    }
    if constexpr (width > 1) add_upper_half<width / 2>(part);
}

// Adds the lanes, in pairs at distances 256, 128, ..., 1. The result is in thread 0.
__device__ inline float2 sum_of_row(float2 value) {
    __shared__ float2 lanes[LANES];
    lanes[threadIdx.x] = value;
    for (int l = threadIdx.x + blockDim.x; l < LANES; l += blockDim.x) lanes[l] = make_float2(0.0f, 0.0f);
    __syncthreads();
    if (threadIdx.x >= 32) return value;
    float2 part[LANES / 32];
#pragma unroll
    for (int i = 0; i < LANES / 32; i++) part[i] = lanes[threadIdx.x + 32 * i];
    add_upper_half<LANES / 64>(part);
    value = part[0];
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        value.x = __fadd_rn(value.x, __shfl_down_sync(0xffffffffu, value.x, distance));
        value.y = __fadd_rn(value.y, __shfl_down_sync(0xffffffffu, value.y, distance));
    }
    return value;
}

// The largest logit of a row times inv_temperature, in every thread.
__device__ inline float largest_z(const float* row, int vocab, float inv_temperature) {
    float max = -INFINITY;
#pragma unroll 4
    for (int j = threadIdx.x; j < vocab; j += LANES) max = fmaxf(max, row[j]);
    // The last sum turns a zero positive, whose sign depends on the order.
    return __fadd_rn(__fmul_rn(largest_of_row(max), inv_temperature), 0.0f);
}

// Adds a logit to the sums of e and of e * d of one lane; returns e.
__device__ __forceinline__ float add_logit(float2& sums, float logit, float inv_temperature, float max) {
    float d = distance(logit, inv_temperature, max);
    const float e = exp_of_distance(d);
    sums.x = __fadd_rn(sums.x, e);
    sums.y = __fmaf_rn(e, d, sums.y);
    return e;
}
