// Rotary position embedding in place: (a, b) <- (a cos - b sin, a sin + b cos). CPU: cpu/ops/rope.rs.
#include "rows.cuh"

// Rotates the pair (a, b).
__device__ __forceinline__ void rotate(float& a, float& b, float cos, float sin) {
    const float x = __fsub_rn(__fmul_rn(a, cos), __fmul_rn(b, sin));
    b = __fadd_rn(__fmul_rn(a, sin), __fmul_rn(b, cos));
    a = x;
}

__device__ __forceinline__ void rotate4(float4& a, float4& b, float4 cos, float4 sin) {
    rotate(a.x, b.x, cos.x, sin.x);
    rotate(a.y, b.y, cos.y, sin.y);
    rotate(a.z, b.z, cos.z, sin.z);
    rotate(a.w, b.w, cos.w, sin.w);
}

// Rotates heads of `rows` rows by direction * angle. cos and sin are [position][half]. A head has `half` pairs:
// neighbours if `interleaved`, else element i and element i + half. A thread rotates four pairs of the heads
// slice, slice + slices, ... of a row: it reads their angles once.
template <bool VECTOR, class X>
__device__ __forceinline__ void rotate_heads(X* x, const float* cos, const float* sin, const int* positions,
                                             float direction, int rows, int ld, int heads, int head_stride, int half,
                                             int interleaved, int slices) {
    const int groups = (half + 3) / 4;
    const long long thread = blockIdx.x * 256ll + threadIdx.x, slice_of_row = thread / groups;
    const long long row = slice_of_row / slices;
    if (row >= rows) return;
    const int i = int(thread % groups) * 4, slice = int(slice_of_row % slices);
    const long long angles = (long long)positions[row] * half;
    const float4 c = load4(cos + angles, i, half, VECTOR);
    float4 s = load4(sin + angles, i, half, VECTOR);
    s = make_float4(__fmul_rn(s.x, direction), __fmul_rn(s.y, direction), __fmul_rn(s.z, direction),
                    __fmul_rn(s.w, direction));
    x += row * ld;
#pragma unroll 2
    for (int head = slice; head < heads; head += slices) {
        X* first = x + (long long)head * head_stride;
        if (interleaved) {
            float4 low = load4(first, 2 * i, 2 * half, VECTOR), high = load4(first, 2 * i + 4, 2 * half, VECTOR);
            float4 a = make_float4(low.x, low.z, high.x, high.z), b = make_float4(low.y, low.w, high.y, high.w);
            rotate4(a, b, c, s);
            store4(first, 2 * i, 2 * half, VECTOR, make_float4(a.x, b.x, a.y, b.y));
            store4(first, 2 * i + 4, 2 * half, VECTOR, make_float4(a.z, b.z, a.w, b.w));
        } else {
            float4 a = load4(first, i, half, VECTOR), b = load4(first + half, i, half, VECTOR);
            rotate4(a, b, c, s);
            store4(first, i, half, VECTOR, a);
            store4(first + half, i, half, VECTOR, b);
        }
    }
}

template <class X>
__device__ void rope(X* x, const float* cos, const float* sin, const int* positions, float direction, int rows, int ld,
                     int heads, int head_stride, int half, int interleaved, int slices, int vector) {
    if (vector)
        rotate_heads<true>(x, cos, sin, positions, direction, rows, ld, heads, head_stride, half, interleaved, slices);
    else
        rotate_heads<false>(x, cos, sin, positions, direction, rows, ld, heads, head_stride, half, interleaved, slices);
}

KERNEL(256, rope_f32)
(float* x, const float* cos, const float* sin, const int* positions, float direction, int rows, int ld, int heads,
 int head_stride, int half, int interleaved, int slices, int vector) {
    rope(x, cos, sin, positions, direction, rows, ld, heads, head_stride, half, interleaved, slices, vector);
}
KERNEL(256, rope_bf16)
(bf16* x, const float* cos, const float* sin, const int* positions, float direction, int rows, int ld, int heads,
 int head_stride, int half, int interleaved, int slices, int vector) {
    rope(x, cos, sin, positions, direction, rows, ld, heads, head_stride, half, interleaved, slices, vector);
}
