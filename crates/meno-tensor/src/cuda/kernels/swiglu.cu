// SwiGLU, h = silu(gate) * up, and its gradient. CPU: cpu/ops/swiglu.rs, cpu/row_kernels.rs.
#include "device.cuh"

// N adjacent elements, read and written at once.
template <class T, int N> struct __align__(sizeof(T) * N) Pack { T value[N]; };

__device__ inline float sigmoid(float x) {
    return __fdiv_rn(1.0f, __fadd_rn(1.0f, ex2(__fmul_rn(x, -1.44269504f))));  // log2(e)
}

// h[row] = silu(gate) * up, for rows [gate | up] of 2 * width elements. A thread has N adjacent elements.
template <int N, class X, class H>
__device__ void swiglu_of(H* h, const X* gate_up, long long row, int column, int width) {
    const X* from = gate_up + row * 2 * width + column;
    const Pack<X, N> gate = *reinterpret_cast<const Pack<X, N>*>(from);
    const Pack<X, N> up = *reinterpret_cast<const Pack<X, N>*>(from + width);
    Pack<H, N> out;
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float g = to_float(gate.value[i]);
        out.value[i] = from_float<H>(__fmul_rn(__fmul_rn(g, sigmoid(g)), to_float(up.value[i])));
    }
    *reinterpret_cast<Pack<H, N>*>(h + row * width + column) = out;
}

// d[gate | up] from dh: dgate = dh * up * s * (1 + gate * (1 - s)) and dup = dh * gate * s, with s = sigmoid(gate).
template <int N, class X, class H>
__device__ void swiglu_backward_of(X* d, const X* gate_up, const H* dh, long long row, int column, int width,
                                   int add) {
    const long long at = row * 2 * width + column;
    const Pack<X, N> gate = *reinterpret_cast<const Pack<X, N>*>(gate_up + at);
    const Pack<X, N> up = *reinterpret_cast<const Pack<X, N>*>(gate_up + at + width);
    const Pack<H, N> dhs = *reinterpret_cast<const Pack<H, N>*>(dh + row * width + column);
    Pack<X, N>*to_gate = reinterpret_cast<Pack<X, N>*>(d + at), *to_up = reinterpret_cast<Pack<X, N>*>(d + at + width);
    Pack<X, N> dgate, dup;
    if (add) dgate = *to_gate, dup = *to_up;
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float g = to_float(gate.value[i]), u = to_float(up.value[i]), dh = to_float(dhs.value[i]);
        const float s = sigmoid(g), slope = __fmul_rn(s, __fmaf_rn(g, __fsub_rn(1.0f, s), 1.0f));
        float dg = __fmul_rn(__fmul_rn(dh, u), slope), du = __fmul_rn(dh, __fmul_rn(g, s));
        if (add) dg = __fadd_rn(to_float(dgate.value[i]), dg), du = __fadd_rn(to_float(dup.value[i]), du);
        dgate.value[i] = from_float<X>(dg);
        dup.value[i] = from_float<X>(du);
    }
    *to_gate = dgate;
    *to_up = dup;
}

// `wide`: a thread has 8 elements; the width is a multiple of 8 and all pointers are aligned. `n`: threads with work.
template <class X, class H> __device__ void swiglu(H* h, const X* gate_up, long long n, int width, int wide) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int packs = wide ? width / 8 : width;
    const long long row = i / packs;
    const int column = int(i - row * packs);
    if (wide)
        swiglu_of<8>(h, gate_up, row, column * 8, width);
    else
        swiglu_of<1>(h, gate_up, row, column, width);
}
template <class X, class H>
__device__ void swiglu_backward(X* d, const X* gate_up, const H* dh, long long n, int width, int add, int wide) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int packs = wide ? width / 8 : width;
    const long long row = i / packs;
    const int column = int(i - row * packs);
    if (wide)
        swiglu_backward_of<8>(d, gate_up, dh, row, column * 8, width, add);
    else
        swiglu_backward_of<1>(d, gate_up, dh, row, column, width, add);
}

KERNEL(256, swiglu_f32_f32)(float* h, const float* gate_up, long long n, int width, int wide) {
    swiglu(h, gate_up, n, width, wide);
}
KERNEL(256, swiglu_f32_bf16)(bf16* h, const float* gate_up, long long n, int width, int wide) {
    swiglu(h, gate_up, n, width, wide);
}
KERNEL(256, swiglu_bf16_f32)(float* h, const bf16* gate_up, long long n, int width, int wide) {
    swiglu(h, gate_up, n, width, wide);
}
KERNEL(256, swiglu_bf16_bf16)(bf16* h, const bf16* gate_up, long long n, int width, int wide) {
    swiglu(h, gate_up, n, width, wide);
}

KERNEL(256, swiglu_backward_f32_f32)
(float* d, const float* gate_up, const float* dh, long long n, int width, int add, int wide) {
    swiglu_backward(d, gate_up, dh, n, width, add, wide);
}
KERNEL(256, swiglu_backward_f32_bf16)
(float* d, const float* gate_up, const bf16* dh, long long n, int width, int add, int wide) {
    swiglu_backward(d, gate_up, dh, n, width, add, wide);
}
KERNEL(256, swiglu_backward_bf16_f32)
(bf16* d, const bf16* gate_up, const float* dh, long long n, int width, int add, int wide) {
    swiglu_backward(d, gate_up, dh, n, width, add, wide);
}
KERNEL(256, swiglu_backward_bf16_bf16)
(bf16* d, const bf16* gate_up, const bf16* dh, long long n, int width, int add, int wide) {
    swiglu_backward(d, gate_up, dh, n, width, add, wide);
}
