// Matrix products in f32: tiles in shared memory and in registers. CPU: cpu/gemm.rs.
//
// An element is the chain of fused multiply-adds of the plain kernel in product.cu, with the same bits.
#include "device.cuh"

// A matrix of which a block reads a strip: element (i, l) is at[i * major + l * minor], i < count.
template <class T> struct Strip {
    const T* at;
    long long major, minor;
    int count;
};

// A TM x TN tile of y, in steps of TK along k. A thread has RM x RN elements.
template <int TM, int TN, int RM, int RN, int TK> struct Shape {
    static constexpr int THREADS = TM / RM * (TN / RN);

    // Reads this thread's elements of a T x TK tile at (first, k0): adjacent threads read adjacent addresses.
    template <int T, class X>
    static __device__ __forceinline__ void read(float (&r)[T * TK / THREADS], Strip<X> x, int first, int k0, int k) {
#pragma unroll
        for (int e = 0; e < T * TK / THREADS; e++) {
            const int index = threadIdx.x + e * THREADS;
            const int i = first + (x.minor == 1 ? index / TK : index % T);
            const int l = k0 + (x.minor == 1 ? index % TK : index / T);
            r[e] = i < x.count && l < k ? to_float(x.at[i * x.major + l * x.minor]) : 0.0f;
        }
    }
    template <int T, int LD>
    static __device__ __forceinline__ void write(float (&tile)[TK][LD], const float (&r)[T * TK / THREADS],
                                                 bool k_adjacent) {
#pragma unroll
        for (int e = 0; e < T * TK / THREADS; e++) {
            const int index = threadIdx.x + e * THREADS;
            if (k_adjacent)
                tile[index % TK][index / TK] = r[e];
            else
                tile[index / T][index % T] = r[e];
        }
    }
};

// y = a b + bias + residual, or y += a b if add. Tiles of y are numbered along n first.
template <int TM, int TN, int RM, int RN, int TK, class Y, class A, class B>
__device__ inline void gemm(Y* y, Strip<A> a, Strip<B> b, int k, int ldy, const float* bias,
                                     const float* residual, int add) {
    typedef Shape<TM, TN, RM, RN, TK> S;
    __shared__ float as[TK][TM + 4], bs[TK][TN + 4];
    const int across = (b.count + TN - 1) / TN;
    const int m0 = blockIdx.x / across * TM, n0 = blockIdx.x % across * TN;
    const int i0 = threadIdx.x / (TN / RN) * RM, j0 = threadIdx.x % (TN / RN) * RN;
    float next_a[TM * TK / S::THREADS], next_b[TN * TK / S::THREADS], sum[RM][RN] = {};
    S::template read<TM>(next_a, a, m0, 0, k);
    S::template read<TN>(next_b, b, n0, 0, k);
    const auto advance = [&](int l) {
        float x[RM], w[RN];
#pragma unroll
        for (int i = 0; i < RM; i++) x[i] = as[l][i0 + i];
#pragma unroll
        for (int j = 0; j < RN; j++) w[j] = bs[l][j0 + j];
#pragma unroll
        for (int i = 0; i < RM; i++)
#pragma unroll
            for (int j = 0; j < RN; j++) sum[i][j] = __fmaf_rn(x[i], w[j], sum[i][j]);
    };
    for (int k0 = 0; k0 < k; k0 += TK) {
        __syncthreads();  // the tile before is used
        S::template write<TM>(as, next_a, a.minor == 1);
        S::template write<TN>(bs, next_b, b.minor == 1);
        __syncthreads();
        if (k0 + TK < k) {
            S::template read<TM>(next_a, a, m0, k0 + TK, k);
            S::template read<TN>(next_b, b, n0, k0 + TK, k);
#pragma unroll
            for (int l = 0; l < TK; l++) advance(l);
        } else {
            for (int l = 0; l < k - k0; l++) advance(l);
        }
    }
#pragma unroll
    for (int i = 0; i < RM; i++)
#pragma unroll
        for (int j = 0; j < RN; j++) {
            const int row = m0 + i0 + i, column = n0 + j0 + j;
            if (row >= a.count || column >= b.count) continue;
            const long long at = row * (long long)ldy + column;
            float value = sum[i][j];
            if (bias) value = __fadd_rn(value, bias[column]);
            if (residual) value = __fadd_rn(residual[at], value);
            if (add) value = __fadd_rn(to_float(y[at]), value);
            y[at] = from_float<Y>(value);
        }
}

// a(i, l) is a[i * a_row + l * a_col], and b(l, j) is b[l * b_row + j * b_col], as in product.cu.
template <class Y, class A, class B>
__device__ inline void many_rows(Y* y, const A* a, const B* b, int m, int n, int k, int a_row, int a_col,
                                          int b_row, int b_col, int ldy, const float* bias, const float* residual,
                                          int add) {
    const Strip<A> rows = {a, a_row, a_col, m};
    const Strip<B> columns = {b, b_col, b_row, n};
    gemm<64, 64, 4, 4, 16>(y, rows, columns, k, ldy, bias, residual, add);
}
template <class Y, class A, class B>
__device__ inline void few_rows(Y* y, const A* a, const B* b, int m, int n, int k, int a_row, int a_col,
                                         int b_row, int b_col, int ldy, const float* bias, const float* residual,
                                         int add) {
    const Strip<A> rows = {a, a_row, a_col, m};
    const Strip<B> columns = {b, b_col, b_row, n};
    gemm<8, 32, 2, 1, 32>(y, rows, columns, k, ldy, bias, residual, add);
}

KERNEL(256, gemm_f32_64x64_f32_f32_f32)
(float* y, const float* a, const float* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    many_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(256, gemm_f32_64x64_f32_f32_bf16)
(bf16* y, const float* a, const float* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    many_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(256, gemm_f32_64x64_f32_bf16_f32)
(float* y, const float* a, const bf16* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    many_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(256, gemm_f32_64x64_f32_bf16_bf16)
(bf16* y, const float* a, const bf16* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    many_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(256, gemm_f32_64x64_bf16_f32_f32)
(float* y, const bf16* a, const float* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    many_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(256, gemm_f32_64x64_bf16_f32_bf16)
(bf16* y, const bf16* a, const float* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    many_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(256, gemm_f32_64x64_bf16_bf16_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    many_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(256, gemm_f32_64x64_bf16_bf16_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    many_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}

KERNEL(128, gemm_f32_8x32_f32_f32_f32)
(float* y, const float* a, const float* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    few_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(128, gemm_f32_8x32_f32_f32_bf16)
(bf16* y, const float* a, const float* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    few_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(128, gemm_f32_8x32_f32_bf16_f32)
(float* y, const float* a, const bf16* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    few_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(128, gemm_f32_8x32_f32_bf16_bf16)
(bf16* y, const float* a, const bf16* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    few_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(128, gemm_f32_8x32_bf16_f32_f32)
(float* y, const bf16* a, const float* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    few_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(128, gemm_f32_8x32_bf16_f32_bf16)
(bf16* y, const bf16* a, const float* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    few_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(128, gemm_f32_8x32_bf16_bf16_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    few_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
KERNEL(128, gemm_f32_8x32_bf16_bf16_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add) {
    few_rows(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add);
}
