// Causal attention, forward, for every head size: f32 sums on the ordinary cores. CPU: cpu/ops/attention.rs.
// attention_bf16.cu has the form for tensor cores.
//
// Order of a query's arithmetic: a score is a chain over the head's columns; keys come in blocks of 64 from position 0;
// a block's probabilities are relative to the largest score so far and added in a fixed tree; o is a chain over keys.
#include "attention_dots.cuh"

namespace {

// The softmax of one row so far: the largest score times factor, the sum of exponentials, and the factor for sums of
// earlier blocks.
struct Softmax {
    float largest, sum, rescale;
};

// Takes a block of scores (two a lane); s becomes the probabilities times `sum`. A row whose keys are all masked
// (-infinity) stays as it is.
__device__ inline void add_block(Softmax& row, float (&s)[2], float factor) {
    const float largest = fmaxf(row.largest, __fmul_rn(warp_max(fmaxf(s[0], s[1])), factor));
    row.rescale = ex2(__fsub_rn(row.largest, largest));
    row.largest = largest;
    s[0] = ex2(__fmaf_rn(s[0], factor, -largest));
    s[1] = ex2(__fmaf_rn(s[1], factor, -largest));
    row.sum = __fmaf_rn(row.sum, row.rescale, warp_sum(__fadd_rn(s[0], s[1])));
}

// Tiles of 8 * R rows in x; key heads and slices of 32 * N value columns in y. Probabilities are rounded to T before
// they are multiplied with values.
template <int R, int N, class T, class Keys, class Values>
__device__ void attend(T* out, float* lse, const Inputs<T>& in) {
    SHARED_MEMORY(shared);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = in.group();
    const int head = blockIdx.y % in.kv_heads, col = blockIdx.y / in.kv_heads * 32 * N;
    // The last tiles of a sequence have the most keys: they start first.
    const Tile tile = find_tile(gridDim.x - 1 - blockIdx.x, in.segments, in.segment_count, group, WARPS * R);
    const int rows = tile.queries * group, last = min(tile.start + WARPS * R, rows) - 1;
    if (tile.start >= rows) return;
    const int end = tile.past + last / group + 1;
    const bool active = tile.start + warp * R <= last;  // the warp has rows

    float* chunk = (float*)shared;
    float* weights = chunk + CHUNK_FLOATS<N> + warp * R * KEYS;
    float* queries = chunk + CHUNK_FLOATS<N> + WARPS * R * KEYS;
    const Keys keys(in.keys(tile, head));
    const Values values(in.values(tile, head));
    const int width = padded(in.qk_dim);
    load_vectors<WARPS * R>(queries, width, in.queries(tile, head), tile.start, rows, 0, width, in.qk_dim);

    int seen[R];  // the keys that a row sees
    Softmax softmax[R];
    float sum[R][N];
#pragma unroll
    for (int r = 0; r < R; r++) {
        seen[r] = tile.past + min(tile.start + warp * R + r, last) / group + 1;
        softmax[r] = {-INFINITY, 0.0f, 0.0f};
#pragma unroll
        for (int c = 0; c < N; c++) sum[r][c] = 0.0f;
    }
    for (int first = 0; first < end; first += KEYS) {
        float s[R][2];
        dots(s, queries, keys, first, end, in.qk_dim, chunk, active);
        if (active) {
#pragma unroll
            for (int r = 0; r < R; r++) {
                if (first + lane >= seen[r]) s[r][0] = -INFINITY;
                if (first + lane + 32 >= seen[r]) s[r][1] = -INFINITY;
                add_block(softmax[r], s[r], in.factor);
                weights[r * KEYS + lane] = to_float(from_float<T>(s[r][0]));
                weights[r * KEYS + lane + 32] = to_float(from_float<T>(s[r][1]));
#pragma unroll
                for (int c = 0; c < N; c++) sum[r][c] = __fmul_rn(sum[r][c], softmax[r].rescale);
            }
        }
        __syncwarp();
        add_weighted(sum, weights, values, first, end, col, in.v_dim, chunk, active);
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
        const int row = tile.start + warp * R + r;
        if (row > last) continue;
        const long long at = (long long)(tile.first + row / group) * in.heads + head * group + row % group;
        const float inverse = __fdiv_rn(1.0f, softmax[r].sum);
#pragma unroll
        for (int c = 0; c < N; c++) {
            const int column = col + lane + 32 * c;
            if (column < in.v_dim) out[at * in.v_dim + column] = from_float<T>(__fmul_rn(sum[r][c], inverse));
        }
        if (lane == 0 && col == 0) lse[at] = __fmul_rn(__fadd_rn(softmax[r].largest, lg2(softmax[r].sum)), LN_2);
    }
}

// A kernel for values up to 128 wide, or one for slices of 512.
#define ATTEND_128(T, KV) attend<4, 4, T, KV, KV>(out, lse, ATTENTION_ARGUMENTS)
#define ATTEND_512(T, KV) attend<2, 16, T, KV, KV>(out, lse, ATTENTION_ARGUMENTS)
#define PARAMETERS(T) T *out, float *lse, ATTENTION_INPUTS(T)

}  // namespace

KERNEL(256, attention_f32_rows_128)(PARAMETERS(float)) { ATTEND_128(float, Rows<float>); }
KERNEL(256, attention_f32_rows_512)(PARAMETERS(float)) { ATTEND_512(float, Rows<float>); }
KERNEL(256, attention_f32_f32_128)(PARAMETERS(float)) { ATTEND_128(float, Pages<float>); }
KERNEL(256, attention_f32_f32_512)(PARAMETERS(float)) { ATTEND_512(float, Pages<float>); }
KERNEL(256, attention_f32_bf16_128)(PARAMETERS(float)) { ATTEND_128(float, Pages<bf16>); }
KERNEL(256, attention_f32_bf16_512)(PARAMETERS(float)) { ATTEND_512(float, Pages<bf16>); }
KERNEL(256, attention_f32_q8_0_128)(PARAMETERS(float)) { ATTEND_128(float, Pages<Q8>); }
KERNEL(256, attention_f32_q8_0_512)(PARAMETERS(float)) { ATTEND_512(float, Pages<Q8>); }
KERNEL(256, attention_bf16_rows_128)(PARAMETERS(bf16)) { ATTEND_128(bf16, Rows<bf16>); }
KERNEL(256, attention_bf16_rows_512)(PARAMETERS(bf16)) { ATTEND_512(bf16, Rows<bf16>); }
KERNEL(256, attention_bf16_f32_128)(PARAMETERS(bf16)) { ATTEND_128(bf16, Pages<float>); }
KERNEL(256, attention_bf16_f32_512)(PARAMETERS(bf16)) { ATTEND_512(bf16, Pages<float>); }
KERNEL(256, attention_bf16_bf16_128)(PARAMETERS(bf16)) { ATTEND_128(bf16, Pages<bf16>); }
KERNEL(256, attention_bf16_bf16_512)(PARAMETERS(bf16)) { ATTEND_512(bf16, Pages<bf16>); }
KERNEL(256, attention_bf16_q8_0_128)(PARAMETERS(bf16)) { ATTEND_128(bf16, Pages<Q8>); }
KERNEL(256, attention_bf16_q8_0_512)(PARAMETERS(bf16)) { ATTEND_512(bf16, Pages<Q8>); }
