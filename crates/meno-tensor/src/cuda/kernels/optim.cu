// The norm of the gradients, AdamW, and the parts of Muon that are not products.
// CPU: cpu/optim/norm.rs, cpu/optim/adamw.rs, cpu/optim/muon.rs.
//
// A block of threads updates up to BLOCK elements, four to a thread at a time. A table of spans tells it which:
// (start, end, first block, flag) for each run of elements; starts are multiples of 16.
#include "rows.cuh"

constexpr int THREADS = 256;
constexpr int BLOCK = 4096;

// A piece of a span: elements from `start` to `end`.
struct Piece {
    long long start, end;
    long long flag;
};

// Finds the elements of this block: the last span that starts at or before it.
__device__ __forceinline__ Piece find_piece(const long long* spans, int count) {
    int low = 0, high = count;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (spans[4 * middle + 2] <= (long long)blockIdx.x) low = middle;
        else high = middle;
    }
    const long long* span = spans + 4 * low;
    const long long start = span[0] + (blockIdx.x - span[2]) * BLOCK, end = span[1];
    return {start, start + BLOCK < end ? start + BLOCK : end, span[3]};
}

__device__ __forceinline__ double add_squares(float4 x, double sum) {
    sum = __fma_rn(double(x.x), double(x.x), sum);
    sum = __fma_rn(double(x.y), double(x.y), sum);
    sum = __fma_rn(double(x.z), double(x.z), sum);
    return __fma_rn(double(x.w), double(x.w), sum);
}

// The sum of all threads' values, in thread 0: over the lanes of a warp, then over the warps in ascending order.
__device__ __forceinline__ double block_sum(double value) {
    __shared__ double parts[32];
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    for (int i = 1; i < int(blockDim.x) / 32; i++) value = __dadd_rn(value, parts[i]);
    return value;
}

// This thread's part of the sum of the squares of a piece of n elements, ascending.
template <bool WHOLE>
__device__ __forceinline__ double squares(const float* x, int n) {
    float4 values[BLOCK / THREADS / 4];
    double sum = 0.0;
#pragma unroll
    for (int i = 0; i < BLOCK / THREADS / 4; i++) values[i] = load4(x, (i * THREADS + threadIdx.x) * 4, n, WHOLE);
#pragma unroll
    for (int i = 0; i < BLOCK / THREADS / 4; i++) sum = add_squares(values[i], sum);
    return sum;
}

// sums[block] = the sum of the squares of a piece.
KERNEL(256, sum_squares)(double* sums, const float* x, const long long* spans, int count) {
    const Piece piece = find_piece(spans, count);
    const int n = int(piece.end - piece.start);
    x += piece.start;
    const double sum = block_sum(n == BLOCK ? squares<true>(x, n) : squares<false>(x, n));
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// out = the square root of the sum of n values: each of 1024 threads adds every 1024th in ascending order. One block.
KERNEL(1024, root_of_sum)(double* out, const double* values, long long n) {
    double sum = 0.0;
#pragma unroll 4
    for (long long i = threadIdx.x; i < n; i += 1024) sum = __dadd_rn(sum, values[i]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) *out = __dsqrt_rn(sum);
}

// The constants of an AdamW step.
struct Adam {
    float beta1, beta2, epsilon;
    float scale;  // factor applied to the gradients
    float keep;   // 1 - learning rate * weight decay
    float rate;   // learning rate / (1 - beta1^t)
    float root;   // 1 / sqrt(1 - beta2^t)
};

__device__ __forceinline__ void adamw_element(float& w, float g, float& m, float& v, const Adam& step) {
    const float d = __fmul_rn(g, step.scale);
    m = __fadd_rn(__fmul_rn(step.beta1, m), __fmul_rn(__fsub_rn(1.0f, step.beta1), d));
    v = __fadd_rn(__fmul_rn(step.beta2, v), __fmul_rn(__fmul_rn(__fsub_rn(1.0f, step.beta2), d), d));
    const float root = __fadd_rn(__fmul_rn(__fsqrt_rn(v), step.root), step.epsilon);
    w = __fsub_rn(__fmul_rn(w, step.keep), __fdiv_rn(__fmul_rn(step.rate, m), root));
}

// One AdamW step on weights w and moments m and v; also writes w to `rounded` if there is one. Spans with a flag are
// decayed.
KERNEL(256, adamw)
(float* w, float* m, float* v, bf16* rounded, const float* g, const long long* spans, int count, float beta1,
 float beta2, float epsilon, float scale, float rate, float root, float keep) {
    const Piece piece = find_piece(spans, count);
    const Adam step = {beta1, beta2, epsilon, scale, piece.flag ? keep : 1.0f, rate, root};
    const int n = int(piece.end - piece.start);
    w += piece.start, m += piece.start, v += piece.start, g += piece.start;
    if (rounded) rounded += piece.start;
    for (int j = threadIdx.x * 4; j < n; j += THREADS * 4) {
        const bool whole = j + 4 <= n;
        float4 w4 = load4(w, j, n, whole), m4 = load4(m, j, n, whole), v4 = load4(v, j, n, whole);
        const float4 g4 = load4(g, j, n, whole);
        adamw_element(w4.x, g4.x, m4.x, v4.x, step);
        adamw_element(w4.y, g4.y, m4.y, v4.y, step);
        adamw_element(w4.z, g4.z, m4.z, v4.z, step);
        adamw_element(w4.w, g4.w, m4.w, v4.w, step);
        store4(w, j, n, whole, w4);
        store4(m, j, n, whole, m4);
        store4(v, j, n, whole, v4);
        if (rounded) store4(rounded, j, n, whole, w4);
    }
}

// ---- Muon, on one matrix of n elements in blocks of BLOCK

// Momentum, and the direction that Newton-Schulz makes orthogonal.
__device__ __forceinline__ float nesterov(float g, float& m, float momentum, float scale) {
    const float d = __fmul_rn(g, scale);
    m = __fadd_rn(__fmul_rn(momentum, m), d);
    return __fadd_rn(__fmul_rn(momentum, m), d);
}

// m = momentum * m + scale * g; x = momentum * m + scale * g; sums[block] = the sum of the squares of x.
KERNEL(256, muon_momentum)
(float* x, double* sums, float* m, const float* g, float momentum, float scale, long long n) {
    const long long start = blockIdx.x * (long long)BLOCK;
    const int rest = int(n - start < BLOCK ? n - start : BLOCK);
    x += start, m += start, g += start;
    double sum = 0.0;
    for (int j = threadIdx.x * 4; j < rest; j += THREADS * 4) {
        const bool whole = j + 4 <= rest;
        float4 m4 = load4(m, j, rest, whole);
        const float4 g4 = load4(g, j, rest, whole);
        float4 x4;
        x4.x = nesterov(g4.x, m4.x, momentum, scale);
        x4.y = nesterov(g4.y, m4.y, momentum, scale);
        x4.z = nesterov(g4.z, m4.z, momentum, scale);
        x4.w = nesterov(g4.w, m4.w, momentum, scale);
        store4(m, j, rest, whole, m4);
        store4(x, j, rest, whole, x4);
        sum = add_squares(x4, sum);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// x = x / (norm + 1e-7).
KERNEL(256, muon_normalize)(float* x, const double* norm, long long n) {
    const long long i = blockIdx.x * (long long)THREADS + threadIdx.x;
    if (i < n) x[i] = __fdiv_rn(x[i], float(*norm + 1e-7));
}

// poly = a * identity + b * gram + c * poly, for matrices of n x n.
KERNEL(256, muon_polynomial)(float* poly, const float* gram, float a, float b, float c, int n) {
    const long long i = blockIdx.x * (long long)THREADS + threadIdx.x;
    if (i >= (long long)n * n) return;
    const float value = __fadd_rn(__fmul_rn(b, gram[i]), __fmul_rn(c, poly[i]));
    poly[i] = i / n == i % n ? __fadd_rn(a, value) : value;
}

// w = keep * w - rate * x; also writes w to `rounded` if there is one.
KERNEL(256, muon_update)(float* w, bf16* rounded, const float* x, float keep, float rate, long long n) {
    const long long i = blockIdx.x * (long long)THREADS + threadIdx.x;
    if (i >= n) return;
    const float value = __fsub_rn(__fmul_rn(w[i], keep), __fmul_rn(rate, x[i]));
    w[i] = value;
    if (rounded) rounded[i] = from_float<bf16>(value);
}
