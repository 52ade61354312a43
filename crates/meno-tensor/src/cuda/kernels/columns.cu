// Sums over rows, and sums of partial results, in a fixed order: gradients of biases and of weights; joined biases.
// CPU: cpu/ops/rows.rs (column_sums), cpu/gemm.rs.
#include "device.cuh"

// partial[s][c] = the sum of column c over rows s * span to (s + 1) * span. A block has 32 columns and 8 threads for
// each: a thread adds every eighth row in ascending order, then the 8 sums are added in order. Grid: column blocks,
// spans.
template <class X> __device__ void column_sums(float* partial, const X* x, int rows, int cols, int ld, int span) {
    __shared__ float sums[8][32];
    const int column = blockIdx.x * 32 + threadIdx.x % 32, lane = threadIdx.x / 32;
    const long long start = blockIdx.y * (long long)span;
    const long long end = start + span < rows ? start + span : rows;
    float sum = 0.0f;
    if (column < cols)
        for (long long row = start + lane; row < end; row += 8) sum = __fadd_rn(sum, to_float(x[row * ld + column]));
    sums[lane][threadIdx.x % 32] = sum;
    __syncthreads();
    if (lane != 0 || column >= cols) return;
    for (int i = 1; i < 8; i++) sum = __fadd_rn(sum, sums[i][threadIdx.x]);
    partial[blockIdx.y * (long long)cols + column] = sum;
}
KERNEL(256, column_sums_f32)(float* partial, const float* x, int rows, int cols, int ld, int span) {
    column_sums(partial, x, rows, cols, ld, span);
}
KERNEL(256, column_sums_bf16)(float* partial, const bf16* x, int rows, int cols, int ld, int span) {
    column_sums(partial, x, rows, cols, ld, span);
}

// y[i][j] = the sum over s of partial[s][i][j], in ascending order; or y += the sum, if add. partial is
// [spans][m][n], and ldy the distance between rows of y.
KERNEL(256, add_spans)(float* y, const float* partial, int spans, int m, int n, int ldy, int add) {
    const long long element = blockIdx.x * (long long)blockDim.x + threadIdx.x, size = m * (long long)n;
    if (element >= size) return;
    float sum = partial[element];
    for (int s = 1; s < spans; s++) sum = __fadd_rn(sum, partial[s * size + element]);
    float* to = y + element / n * ldy + element % n;
    *to = add ? __fadd_rn(*to, sum) : sum;
}

// y = [a | b | c], of na, nb and nc elements; zeros for a null pointer.
KERNEL(256, join)(float* y, const float* a, const float* b, const float* c, int na, int nb, int nc) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= na + nb + nc) return;
    const float* from = i < na ? a : i < na + nb ? b : c;
    y[i] = from ? from[i < na ? i : i < na + nb ? i - na : i - na - nb] : 0.0f;
}
