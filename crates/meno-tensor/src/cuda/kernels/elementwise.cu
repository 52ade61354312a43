// Elementwise kernels: factors, sums, conversions, zeros. CPU: cpu/ops/scale.rs, cpu/weights.rs, cpu/host_buffer.rs.
#include "device.cuh"

__device__ inline long long thread_index() { return blockIdx.x * (long long)blockDim.x + threadIdx.x; }

// y = factor * x, or y += factor * x if add.
template <class X, class Y>
__device__ void scale(Y* y, const X* x, float factor, int n, int add) {
    const long long i = thread_index();
    if (i >= n) return;
    const float value = __fmul_rn(factor, to_float(x[i]));
    y[i] = from_float<Y>(add ? __fadd_rn(to_float(y[i]), value) : value);
}
KERNEL(256, scale_f32_f32)(float* y, const float* x, float factor, int n, int add) { scale(y, x, factor, n, add); }
KERNEL(256, scale_f32_bf16)(bf16* y, const float* x, float factor, int n, int add) { scale(y, x, factor, n, add); }
KERNEL(256, scale_bf16_f32)(float* y, const bf16* x, float factor, int n, int add) { scale(y, x, factor, n, add); }
KERNEL(256, scale_bf16_bf16)(bf16* y, const bf16* x, float factor, int n, int add) { scale(y, x, factor, n, add); }

// y = x * c, element by element.
template <class X>
__device__ void times(float* y, const X* x, const float* c, int n) {
    const long long i = thread_index();
    if (i < n) y[i] = __fmul_rn(to_float(x[i]), c[i]);
}
KERNEL(256, times_f32)(float* y, const float* x, const float* c, int n) { times(y, x, c, n); }
KERNEL(256, times_bf16)(float* y, const bf16* x, const float* c, int n) { times(y, x, c, n); }

// y = x, rounded to bf16.
KERNEL(256, round_bf16)(bf16* y, const float* x, long long n) {
    const long long i = thread_index();
    if (i < n) y[i] = from_float<bf16>(x[i]);
}

// y = rate * w + (1 - rate) * y. At rate 1, y has the bits of w whatever it held before.
KERNEL(256, mix)(float* y, const float* w, float rate, long long n) {
    const long long i = thread_index();
    if (i >= n) return;
    y[i] = rate == 1.0f ? w[i] : __fadd_rn(__fmul_rn(rate, w[i]), __fmul_rn(__fsub_rn(1.0f, rate), y[i]));
}
