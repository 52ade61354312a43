// Token embedding: rows of a table in f32 or bf16, and the gradient of the table. CPU: cpu/ops/embedding.rs.
#include "rows.cuh"

// y[i] = table[tokens[i]], or table[i] without tokens. With segments (start, length, ...): y[i] = table[tokens[i + 1]],
// and zero for the last row of a segment. A block copies 1024 columns of a row.
template <class Y, class T>
__device__ void embedding(Y* y, const T* table, const int* tokens, const int* row_segments, const int4* segments,
                          int cols, int ldy, int vector) {
    const int row = blockIdx.x, j = (blockIdx.y * 256 + threadIdx.x) * 4;
    if (j >= cols) return;
    bool has_token = true;
    if (segments) {
        const int4 segment = segments[row_segments[row]];
        has_token = row + 1 < segment.x + segment.y;
    }
    float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (has_token) {
        const long long token = tokens ? tokens[row + (segments ? 1 : 0)] : row;
        value = load4(table + token * cols, j, cols, vector);
    }
    store4(y + (long long)row * ldy, j, cols, vector, value);
}

KERNEL(256, embedding_f32_f32)
(float* y, const float* table, const int* tokens, const int* row_segments, const int4* segments, int cols, int ldy,
 int vector) {
    embedding(y, table, tokens, row_segments, segments, cols, ldy, vector);
}
KERNEL(256, embedding_f32_bf16)
(bf16* y, const float* table, const int* tokens, const int* row_segments, const int4* segments, int cols, int ldy,
 int vector) {
    embedding(y, table, tokens, row_segments, segments, cols, ldy, vector);
}
KERNEL(256, embedding_bf16_f32)
(float* y, const bf16* table, const int* tokens, const int* row_segments, const int4* segments, int cols, int ldy,
 int vector) {
    embedding(y, table, tokens, row_segments, segments, cols, ldy, vector);
}
KERNEL(256, embedding_bf16_bf16)
(bf16* y, const bf16* table, const int* tokens, const int* row_segments, const int4* segments, int cols, int ldy,
 int vector) {
    embedding(y, table, tokens, row_segments, segments, cols, ldy, vector);
}

// dtable[tokens[i]] += the sum of dy[rows[k]] for k from offsets[i] to offsets[i + 1], in ascending order. Block i adds
// 1024 columns of one token, which no other block does.
template <class DY>
__device__ void embedding_backward(float* dtable, const DY* dy, const int* tokens, const int* offsets, const int* rows,
                                   int cols, int lddy, int vector) {
    const int j = (blockIdx.y * 256 + threadIdx.x) * 4;
    if (j >= cols) return;
    const int start = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (vector) {
#pragma unroll 8
        for (int k = start; k < end; k++) sum = add4(sum, load4(dy + (long long)rows[k] * lddy, j, cols, true));
    } else {
        for (int k = start; k < end; k++) sum = add4(sum, load4(dy + (long long)rows[k] * lddy, j, cols, false));
    }
    float* row = dtable + (long long)tokens[blockIdx.x] * cols;
    store4(row, j, cols, vector, add4(load4(row, j, cols, vector), sum));
}

KERNEL(256, embedding_backward_f32)
(float* dtable, const float* dy, const int* tokens, const int* offsets, const int* rows, int cols, int lddy,
 int vector) {
    embedding_backward(dtable, dy, tokens, offsets, rows, cols, lddy, vector);
}
KERNEL(256, embedding_backward_bf16)
(float* dtable, const bf16* dy, const int* tokens, const int* offsets, const int* rows, int cols, int lddy,
 int vector) {
    embedding_backward(dtable, dy, tokens, offsets, rows, cols, lddy, vector);
}
