// Token embedding in quantized tables: rows with their exact values. CPU: cpu/ops/embedding.rs.
#include "quant.cuh"

// As `embedding` in embedding.cu. A thread has the 16 elements of a row that a lane finds in a record.
template <class Q, class Y>
__device__ void embedding(Y* y, const Blocks<Q>& table, const int* tokens, const int* row_segments,
                          const int4* segments, int cols, int ldy) {
    const int row = blockIdx.x, index = blockIdx.y * blockDim.x + threadIdx.x, chunk = index / 4;
    if (chunk >= table.chunks) return;
    bool has_token = true;
    if (segments) {
        const int4 segment = segments[row_segments[row]];
        has_token = row + 1 < segment.x + segment.y;
    }
    Y* to = y + row * (long long)ldy;
    const int token = has_token ? tokens[row + (segments ? 1 : 0)] : 0, tile = token / 16, half = token % 16 / 8;
    Q codes;
    codes.load(table.record(tile, chunk), table.super(tile, chunk), token % 8 * 4 + index % 4);
#pragma unroll
    for (int step = 0; step < 4; step++) {
        float v[8];
        codes.values(v, step);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int column = chunk * 64 + step * 16 + i / 2 * 8 + index % 4 * 2 + i % 2;
            const float value = half ? v[i / 2 * 4 + i % 2 + 2] : v[i / 2 * 4 + i % 2];
            if (column < cols) to[column] = from_float<Y>(has_token ? value : 0.0f);
        }
    }
}

#define EMBEDDING(Q, Y)                                                                                             \
    (Y* y, const byte* records, const byte* supers, const int* tokens, const int* row_segments, const int4* segments, \
     int n, int chunks, int cols, int ldy) {                                                                        \
        embedding(y, Blocks<Q>{records, supers, n, chunks}, tokens, row_segments, segments, cols, ldy);             \
    }

KERNEL(256, embedding_q4_0_f32)EMBEDDING(Q4_0, float)
KERNEL(256, embedding_q4_0_bf16)EMBEDDING(Q4_0, bf16)
KERNEL(256, embedding_q5_0_f32)EMBEDDING(Q5_0, float)
KERNEL(256, embedding_q5_0_bf16)EMBEDDING(Q5_0, bf16)
KERNEL(256, embedding_q8_0_f32)EMBEDDING(Q8_0, float)
KERNEL(256, embedding_q8_0_bf16)EMBEDDING(Q8_0, bf16)
KERNEL(256, embedding_q4_k_f32)EMBEDDING(Q4_K, float)
KERNEL(256, embedding_q4_k_bf16)EMBEDDING(Q4_K, bf16)
KERNEL(256, embedding_q6_k_f32)EMBEDDING(Q6_K, float)
KERNEL(256, embedding_q6_k_bf16)EMBEDDING(Q6_K, bf16)
KERNEL(256, embedding_fp8_f32)EMBEDDING(Fp8, float)
KERNEL(256, embedding_fp8_bf16)EMBEDDING(Fp8, bf16)
