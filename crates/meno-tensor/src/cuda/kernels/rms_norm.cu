// RMSNorm of rows and of heads: y = gain * x * rstd, rstd = 1 / sqrt(mean(x^2) + eps). CPU: cpu/ops/rms_norm.rs.
//
// A run is what is normalized together: a row, or one of the `heads` heads side by side in a row. It has `cols`
// elements; `warps` warps share it (1 or 8, a function of `cols`). Each thread owns the same pieces of four elements in
// every run, so a sum over a run has an order that only `cols` determines.
#include "rows.cuh"

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;

// Element 0 of run `run` in a matrix of rows `ld` apart.
template <class T>
__device__ __forceinline__ T* run_at(T* x, int run, int cols, int heads, int ld) {
    return x + (long long)(run / heads) * ld + run % heads * cols;
}

// The sums over the threads that share a run. The block's threads call it together if eight warps share a run.
__device__ __forceinline__ float2 run_sums(float2 sums, int warps) {
    __shared__ float2 parts[WARPS];
    sums = make_float2(warp_sum(sums.x), warp_sum(sums.y));
    if (warps == 1) return sums;
    __syncthreads();  // the parts of the run before are read
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sums;
    __syncthreads();
    sums = parts[0];
#pragma unroll
    for (int i = 1; i < WARPS; i++)
        sums = make_float2(__fadd_rn(sums.x, parts[i].x), __fadd_rn(sums.y, parts[i].y));
    return sums;
}

__device__ __forceinline__ float rstd_of(float squares, int cols, float eps) {
    return __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(__fdiv_rn(squares, float(cols)), eps)));
}

__device__ __forceinline__ float add_squares(float4 x, float sum) {
    sum = __fmaf_rn(x.x, x.x, sum);
    sum = __fmaf_rn(x.y, x.y, sum);
    sum = __fmaf_rn(x.z, x.z, sum);
    return __fmaf_rn(x.w, x.w, sum);
}

__device__ __forceinline__ float4 scaled(float4 x, float factor, float4 gain) {
    return make_float4(__fmul_rn(__fmul_rn(x.x, factor), gain.x), __fmul_rn(__fmul_rn(x.y, factor), gain.y),
                       __fmul_rn(__fmul_rn(x.z, factor), gain.z), __fmul_rn(__fmul_rn(x.w, factor), gain.w));
}

template <bool VECTOR, class X, class Y>
__device__ __forceinline__ void norm_run(Y* y, const X* x, const float* gain, float eps, int cols, int warps) {
    const int step = warps * 32 * 4, first = threadIdx.x % (warps * 32) * 4;
    float squares = 0.0f;
#pragma unroll 4
    for (int j = first; j < cols; j += step) squares = add_squares(load4(x, j, cols, VECTOR), squares);
    const float rstd = rstd_of(run_sums(make_float2(squares, 0.0f), warps).x, cols, eps);
#pragma unroll 4
    for (int j = first; j < cols; j += step)
        store4(y, j, cols, VECTOR, scaled(load4(x, j, cols, VECTOR), rstd, load4(gain, j, cols, VECTOR)));
}

// `vector`: every row starts at a multiple of four elements and has whole pieces only.
template <class X, class Y>
__device__ void rms_norm(Y* y, const X* x, const float* gain, float eps, int runs, int cols, int heads, int ldx,
                         int ldy, int warps, int vector) {
    const int run = blockIdx.x * (WARPS / warps) + threadIdx.x / 32 / warps;
    if (run >= runs) return;
    x = run_at(x, run, cols, heads, ldx);
    y = run_at(y, run, cols, heads, ldy);
    if (vector) norm_run<true>(y, x, gain, eps, cols, warps);
    else norm_run<false>(y, x, gain, eps, cols, warps);
}

KERNEL(256, rms_norm_f32_f32)
(float* y, const float* x, const float* gain, float eps, int runs, int cols, int heads, int ldx, int ldy, int warps,
 int vector) {
    rms_norm(y, x, gain, eps, runs, cols, heads, ldx, ldy, warps, vector);
}
KERNEL(256, rms_norm_f32_bf16)
(bf16* y, const float* x, const float* gain, float eps, int runs, int cols, int heads, int ldx, int ldy, int warps,
 int vector) {
    rms_norm(y, x, gain, eps, runs, cols, heads, ldx, ldy, warps, vector);
}
KERNEL(256, rms_norm_bf16_f32)
(float* y, const bf16* x, const float* gain, float eps, int runs, int cols, int heads, int ldx, int ldy, int warps,
 int vector) {
    rms_norm(y, x, gain, eps, runs, cols, heads, ldx, ldy, warps, vector);
}
KERNEL(256, rms_norm_bf16_bf16)
(bf16* y, const bf16* x, const float* gain, float eps, int runs, int cols, int heads, int ldx, int ldy, int warps,
 int vector) {
    rms_norm(y, x, gain, eps, runs, cols, heads, ldx, ldy, warps, vector);
}

// 1 / sqrt(mean(x^2) + eps), and rstd^2 * mean(gain * dy * x).
template <bool VECTOR, class X, class DY>
__device__ __forceinline__ float2 statistics(const X* x, const DY* dy, const float* gain, float eps, int cols,
                                             int warps) {
    float2 sums = make_float2(0.0f, 0.0f);
#pragma unroll 2
    for (int j = threadIdx.x % (warps * 32) * 4; j < cols; j += warps * 32 * 4) {
        const float4 a = load4(x, j, cols, VECTOR), d = load4(dy, j, cols, VECTOR), g = load4(gain, j, cols, VECTOR);
        sums.x = add_squares(a, sums.x);
        sums.y = __fmaf_rn(__fmul_rn(a.x, d.x), g.x, sums.y);
        sums.y = __fmaf_rn(__fmul_rn(a.y, d.y), g.y, sums.y);
        sums.y = __fmaf_rn(__fmul_rn(a.z, d.z), g.z, sums.y);
        sums.y = __fmaf_rn(__fmul_rn(a.w, d.w), g.w, sums.y);
    }
    sums = run_sums(sums, warps);
    const float rstd = rstd_of(sums.x, cols, eps);
    return make_float2(rstd, __fdiv_rn(__fmul_rn(__fmul_rn(rstd, rstd), sums.y), float(cols)));
}

__device__ __forceinline__ float input_gradient(float x, float dy, float gain, float2 s) {
    return __fmul_rn(s.x, __fsub_rn(__fmul_rn(dy, gain), __fmul_rn(x, s.y)));
}

// dx (+)= rstd * (gain * dy - x * rstd^2 * mean(gain * dy * x)) for one run; sums += x * rstd * dy.
template <bool VECTOR, class X, class DY, class DX>
__device__ __forceinline__ void backward_run(DX* dx, float* sums, const X* x, const DY* dy, const float* gain,
                                             float eps, int cols, int warps, int add) {
    const float2 s = statistics<VECTOR>(x, dy, gain, eps, cols, warps);
#pragma unroll 1
    for (int j = threadIdx.x % (warps * 32) * 4; j < cols; j += warps * 32 * 4) {
        const float4 a = load4(x, j, cols, VECTOR), d = load4(dy, j, cols, VECTOR), g = load4(gain, j, cols, VECTOR);
        float4 value = make_float4(input_gradient(a.x, d.x, g.x, s), input_gradient(a.y, d.y, g.y, s),
                                   input_gradient(a.z, d.z, g.z, s), input_gradient(a.w, d.w, g.w, s));
        if (add) value = add4(load4(dx, j, cols, VECTOR), value);
        store4(dx, j, cols, VECTOR, value);
        store4(sums, j, cols, VECTOR, add4(load4(sums, j, cols, VECTOR), scaled(a, s.x, d)));
    }
}

// The gradients of all runs. A block adds the gain's gradient over its `span` consecutive runs: each warp (or the
// block) over its share of them in ascending order, then over the warps in ascending order. partials: [blocks][cols].
// The sums stand in dynamic shared memory, [WARPS / warps][cols], or, if they do not fit (`shared` is 0, and eight
// warps share a run), in `partials`.
template <class X, class DY, class DX>
__device__ void rms_norm_backward(DX* dx, float* partials, const X* x, const DY* dy, const float* gain, float eps,
                                  int runs, int cols, int heads, int ldx, int lddy, int lddx, int span, int warps,
                                  int vector, int shared, int add) {
    SHARED_MEMORY(memory);
    const int groups = WARPS / warps, group = threadIdx.x / 32 / warps, share = span / groups;
    partials += (long long)blockIdx.x * cols;
    float* const sums = shared ? reinterpret_cast<float*>(memory) + group * cols : partials;
    const float4 zero = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (int j = threadIdx.x % (warps * 32) * 4; j < cols; j += warps * 32 * 4) store4(sums, j, cols, vector, zero);
    const int start = blockIdx.x * span + group * share, end = min(runs, start + share);
    for (int run = start; run < end; run++) {
        const X* xs = run_at(x, run, cols, heads, ldx);
        const DY* dys = run_at(dy, run, cols, heads, lddy);
        DX* dxs = run_at(dx, run, cols, heads, lddx);
        if (vector) backward_run<true>(dxs, sums, xs, dys, gain, eps, cols, warps, add);
        else backward_run<false>(dxs, sums, xs, dys, gain, eps, cols, warps, add);
    }
    if (!shared) return;
    __syncthreads();
    const float* all = reinterpret_cast<const float*>(memory);
    for (int j = threadIdx.x; j < cols; j += THREADS) {
        float sum = all[j];
        for (int i = 1; i < groups; i++) sum = __fadd_rn(sum, all[i * cols + j]);
        partials[j] = sum;
    }
}

KERNEL(256, rms_norm_backward_f32_f32_f32)
(float* dx, float* partials, const float* x, const float* dy, const float* gain, float eps, int runs, int cols,
 int heads, int ldx, int lddy, int lddx, int span, int warps, int vector, int shared, int add) {
    rms_norm_backward(dx, partials, x, dy, gain, eps, runs, cols, heads, ldx, lddy, lddx, span, warps, vector, shared,
                      add);
}
KERNEL(256, rms_norm_backward_f32_f32_bf16)
(bf16* dx, float* partials, const float* x, const float* dy, const float* gain, float eps, int runs, int cols,
 int heads, int ldx, int lddy, int lddx, int span, int warps, int vector, int shared, int add) {
    rms_norm_backward(dx, partials, x, dy, gain, eps, runs, cols, heads, ldx, lddy, lddx, span, warps, vector, shared,
                      add);
}
KERNEL(256, rms_norm_backward_f32_bf16_f32)
(float* dx, float* partials, const float* x, const bf16* dy, const float* gain, float eps, int runs, int cols,
 int heads, int ldx, int lddy, int lddx, int span, int warps, int vector, int shared, int add) {
    rms_norm_backward(dx, partials, x, dy, gain, eps, runs, cols, heads, ldx, lddy, lddx, span, warps, vector, shared,
                      add);
}
KERNEL(256, rms_norm_backward_f32_bf16_bf16)
(bf16* dx, float* partials, const float* x, const bf16* dy, const float* gain, float eps, int runs, int cols,
 int heads, int ldx, int lddy, int lddx, int span, int warps, int vector, int shared, int add) {
    rms_norm_backward(dx, partials, x, dy, gain, eps, runs, cols, heads, ldx, lddy, lddx, span, warps, vector, shared,
                      add);
}
KERNEL(256, rms_norm_backward_bf16_f32_f32)
(float* dx, float* partials, const bf16* x, const float* dy, const float* gain, float eps, int runs, int cols,
 int heads, int ldx, int lddy, int lddx, int span, int warps, int vector, int shared, int add) {
    rms_norm_backward(dx, partials, x, dy, gain, eps, runs, cols, heads, ldx, lddy, lddx, span, warps, vector, shared,
                      add);
}
KERNEL(256, rms_norm_backward_bf16_f32_bf16)
(bf16* dx, float* partials, const bf16* x, const float* dy, const float* gain, float eps, int runs, int cols,
 int heads, int ldx, int lddy, int lddx, int span, int warps, int vector, int shared, int add) {
    rms_norm_backward(dx, partials, x, dy, gain, eps, runs, cols, heads, ldx, lddy, lddx, span, warps, vector, shared,
                      add);
}
KERNEL(256, rms_norm_backward_bf16_bf16_f32)
(float* dx, float* partials, const bf16* x, const bf16* dy, const float* gain, float eps, int runs, int cols,
 int heads, int ldx, int lddy, int lddx, int span, int warps, int vector, int shared, int add) {
    rms_norm_backward(dx, partials, x, dy, gain, eps, runs, cols, heads, ldx, lddy, lddx, span, warps, vector, shared,
                      add);
}
KERNEL(256, rms_norm_backward_bf16_bf16_bf16)
(bf16* dx, float* partials, const bf16* x, const bf16* dy, const float* gain, float eps, int runs, int cols,
 int heads, int ldx, int lddy, int lddx, int span, int warps, int vector, int shared, int add) {
    rms_norm_backward(dx, partials, x, dy, gain, eps, runs, cols, heads, ldx, lddy, lddx, span, warps, vector, shared,
                      add);
}

// out[j] += the sum of partials[i][j] over `count` rows: 32 spans of consecutive rows in ascending order, then the
// spans in ascending order. A block has 32 columns.
KERNEL(1024, add_column_sums)(float* out, const float* partials, int count, int cols) {
    __shared__ float sums[32][32];
    const int lane = threadIdx.x % 32, part = threadIdx.x / 32, j = blockIdx.x * 32 + lane;
    const int share = (count + 31) / 32, end = min(count, (part + 1) * share);
    float sum = 0.0f;
    if (j < cols) {
#pragma unroll 4
        for (int i = part * share; i < end; i++) sum = __fadd_rn(sum, partials[(long long)i * cols + j]);
    }
    sums[part][lane] = sum;
    __syncthreads();
    if (part > 0 || j >= cols) return;
    for (int i = 1; i < 32; i++) sum = __fadd_rn(sum, sums[i][lane]);
    out[j] = __fadd_rn(out[j], sum);
}
