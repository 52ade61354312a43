// The loss head and the log-softmax of a row of logits: gathered rows, sums over the vocabulary, gradient of the
// logits. CPU: cpu/ops/head.rs, cpu/ops/log_softmax.rs.
#include "log_softmax.cuh"

// One block per row of logits [rows][vocab]. Writes max z, sum of e and sum of e * d, with z = logit * inv_temperature,
// d = z - max and e = exp(d), and the logit of the row's target.
KERNEL(512, log_softmax_f32)
(float4* results, const float* logits, const int* targets, int vocab, float inv_temperature) {
    const float* row = logits + blockIdx.x * (long long)vocab;
    const float max = largest_z(row, vocab, inv_temperature);
    float2 sums = make_float2(0.0f, 0.0f);
#pragma unroll 4
    for (int j = threadIdx.x; j < vocab; j += LANES) add_logit(sums, row[j], inv_temperature, max);
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
