// The loss head and the log-softmax of a row of logits: gathered rows, sums over the vocabulary, gradient of the
// logits. CPU: cpu/ops/head.rs, cpu/ops/log_softmax.rs. cuda/log_softmax.rs has the same arithmetic for the host.
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

// One block per row of logits [rows][vocab]. Writes max z, sum of e and sum of e * d, with z = logit * inv_temperature,
// d = z - max and e = exp(d), and the logit of the row's target.
KERNEL(512, log_softmax_f32)
(float4* results, const float* logits, const int* targets, int vocab, float inv_temperature) {
    const float* row = logits + blockIdx.x * (long long)vocab;
    float max = -INFINITY;
#pragma unroll 4
    for (int j = threadIdx.x; j < vocab; j += LANES) max = fmaxf(max, row[j]);
    // The last sum turns a zero positive, whose sign depends on the order.
    max = __fadd_rn(__fmul_rn(largest_of_row(max), inv_temperature), 0.0f);
    float2 sums = make_float2(0.0f, 0.0f);
#pragma unroll 4
    for (int j = threadIdx.x; j < vocab; j += LANES) {
        float d = distance(row[j], inv_temperature, max);
        const float e = exp_of_distance(d);
        sums.x = __fadd_rn(sums.x, e);
        sums.y = __fmaf_rn(e, d, sums.y);
    }
    sums = sum_of_row(sums);
    if (threadIdx.x == 0) results[blockIdx.x] = make_float4(max, sums.x, sums.y, row[targets[blockIdx.x]]);
}

// dlogits = e * (a - b * d), + c at the row's target; coefficients has (max, a, b, c) of each row. A thread has four
// columns of row blockIdx.y. dlogits may be the logits.
template <class D>
__device__ void log_softmax_gradient(D* dlogits, const float* logits, const float4* coefficients, const int* targets,
                                     int vocab, float inv_temperature) {
    const long long start = blockIdx.y * (long long)vocab;
    const float4 row = coefficients[blockIdx.y];
    const int target = targets[blockIdx.y], first = blockIdx.x * 1024 + threadIdx.x;
    float logit[4];
#pragma unroll
    for (int i = 0; i < 4; i++) logit[i] = first + 256 * i < vocab ? logits[start + first + 256 * i] : 0.0f;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int j = first + 256 * i;
        if (j >= vocab) break;
        float d = distance(logit[i], inv_temperature, row.x);
        const float e = exp_of_distance(d);
        const float gradient = __fmul_rn(e, __fmaf_rn(-row.z, d, row.y));
        dlogits[start + j] = from_float<D>(j == target ? __fadd_rn(gradient, row.w) : gradient);
    }
}
KERNEL(256, log_softmax_gradient_f32_f32)
(float* dlogits, const float* logits, const float4* coefficients, const int* targets, int vocab,
 float inv_temperature) {
    log_softmax_gradient(dlogits, logits, coefficients, targets, vocab, inv_temperature);
}
KERNEL(256, log_softmax_gradient_f32_bf16)
(bf16* dlogits, const float* logits, const float4* coefficients, const int* targets, int vocab,
 float inv_temperature) {
    log_softmax_gradient(dlogits, logits, coefficients, targets, vocab, inv_temperature);
}

// y[i] = x[rows[i]], one block per row of y.
template <class X, class Y>
__device__ void gather_rows(Y* y, const X* x, const int* rows, int cols) {
    const X* from = x + rows[blockIdx.x] * (long long)cols;
    Y* to = y + blockIdx.x * (long long)cols;
    for (int j = threadIdx.x; j < cols; j += blockDim.x) to[j] = from_float<Y>(to_float(from[j]));
}
KERNEL(256, head_gather_f32_f32)(float* y, const float* x, const int* rows, int cols) { gather_rows(y, x, rows, cols); }
KERNEL(256, head_gather_f32_bf16)(bf16* y, const float* x, const int* rows, int cols) { gather_rows(y, x, rows, cols); }
KERNEL(256, head_gather_bf16_f32)(float* y, const bf16* x, const int* rows, int cols) { gather_rows(y, x, rows, cols); }
KERNEL(256, head_gather_bf16_bf16)(bf16* y, const bf16* x, const int* rows, int cols) { gather_rows(y, x, rows, cols); }

// y[rows[i]] = x[i], or y[rows[i]] += x[i] if add, one block per row of x; no row occurs twice.
template <class X, class Y>
__device__ void scatter_rows(Y* y, const X* x, const int* rows, int cols, int add) {
    const X* from = x + blockIdx.x * (long long)cols;
    Y* to = y + rows[blockIdx.x] * (long long)cols;
    for (int j = threadIdx.x; j < cols; j += blockDim.x) {
        const float value = to_float(from[j]);
        to[j] = from_float<Y>(add ? __fadd_rn(to_float(to[j]), value) : value);
    }
}
KERNEL(256, head_scatter_f32_f32)
(float* y, const float* x, const int* rows, int cols, int add) { scatter_rows(y, x, rows, cols, add); }
KERNEL(256, head_scatter_f32_bf16)
(bf16* y, const float* x, const int* rows, int cols, int add) { scatter_rows(y, x, rows, cols, add); }
KERNEL(256, head_scatter_bf16_f32)
(float* y, const bf16* x, const int* rows, int cols, int add) { scatter_rows(y, x, rows, cols, add); }
KERNEL(256, head_scatter_bf16_bf16)
(bf16* y, const bf16* x, const int* rows, int cols, int add) { scatter_rows(y, x, rows, cols, add); }
