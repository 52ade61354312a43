// Plain matrix products: one thread per element, a chain of fused multiply-adds over k in ascending order.
// CPU: cpu/gemm.rs. The fast kernels are tested against these.
#include "device.cuh"

// y[i][j] = sum over l of a(i, l) * b(l, j), + bias[j] + residual[i][j]; or y += the sum, if add. a(i, l) is
// a[i * a_row + l * a_col], and b(l, j) is b[l * b_row + j * b_col]. With round, both are rounded to bf16.
template <class A, class B, class Y>
__device__ void product(Y* y, const A* a, const B* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col,
                        int ldy, const float* bias, const float* residual, int add, int round) {
    const long long element = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    const long long i = element / n, j = element % n;
    if (i >= m) return;
    float sum = 0.0f;
    for (long long l = 0; l < k; l++) {
        float x = to_float(a[i * a_row + l * a_col]), w = to_float(b[l * b_row + j * b_col]);
        if (round) x = to_float(from_float<bf16>(x)), w = to_float(from_float<bf16>(w));
        sum = __fmaf_rn(x, w, sum);
    }
    const long long at = i * ldy + j;
    if (bias) sum = __fadd_rn(sum, bias[j]);
    if (residual) sum = __fadd_rn(residual[at], sum);
    if (add) sum = __fadd_rn(to_float(y[at]), sum);
    y[at] = from_float<Y>(sum);
}

KERNEL(256, product_f32_f32_f32)
(float* y, const float* a, const float* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add, int round) {
    product(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add, round);
}
KERNEL(256, product_f32_f32_bf16)
(bf16* y, const float* a, const float* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add, int round) {
    product(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add, round);
}
KERNEL(256, product_f32_bf16_f32)
(float* y, const float* a, const bf16* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add, int round) {
    product(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add, round);
}
KERNEL(256, product_f32_bf16_bf16)
(bf16* y, const float* a, const bf16* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add, int round) {
    product(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add, round);
}
KERNEL(256, product_bf16_f32_f32)
(float* y, const bf16* a, const float* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add, int round) {
    product(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add, round);
}
KERNEL(256, product_bf16_f32_bf16)
(bf16* y, const bf16* a, const float* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add, int round) {
    product(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add, round);
}
KERNEL(256, product_bf16_bf16_f32)
(float* y, const bf16* a, const bf16* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add, int round) {
    product(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add, round);
}
KERNEL(256, product_bf16_bf16_bf16)
(bf16* y, const bf16* a, const bf16* b, int m, int n, int k, int a_row, int a_col, int b_row, int b_col, int ldy,
 const float* bias, const float* residual, int add, int round) {
    product(y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias, residual, add, round);
}

// y = x rounded to bf16, rows by rows: gives the rows of a matrix the distance and the start that the tensor-core
// kernels need.
template <class X> __device__ void round_rows(bf16* y, const X* x, int rows, int cols, int ldx, int ldy) {
    const long long element = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    const long long row = element / cols, column = element % cols;
    if (row < rows) y[row * ldy + column] = from_float<bf16>(to_float(x[row * ldx + column]));
}
KERNEL(256, round_rows_f32)(bf16* y, const float* x, int rows, int cols, int ldx, int ldy) {
    round_rows(y, x, rows, cols, ldx, ldy);
}
KERNEL(256, round_rows_bf16)(bf16* y, const bf16* x, int rows, int cols, int ldx, int ldy) {
    round_rows(y, x, rows, cols, ldx, ldy);
}
