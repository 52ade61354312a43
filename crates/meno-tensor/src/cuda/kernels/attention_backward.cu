// Causal attention, backward, for every head size: f32 sums on the ordinary cores. CPU: cpu/ops/attention.rs.
// attention_bf16.cu has the form for tensor cores.
//
// With p = exp(s - lse) and delta = o·do: dv_j = sum_i p_ij do_i, ds_ij = p_ij (do_i·v_j - delta_i),
// dk_j = scale sum_i ds_ij q_i, dq_i = scale sum_j ds_ij k_j. One kernel for each gradient: sums over keys ascending
// for dq, over queries ascending and their heads ascending for dk and dv. The probabilities are computed again.
#include "attention_dots.cuh"

namespace {

// Rows of a warp, and slices of 32 columns.
constexpr int R = 4, N = 4, TILE = WARPS * R;

// delta[row][head] = o·do: one warp each.
template <class T> __device__ void output_dot(float* delta, const T* out, const T* dout, int count, int dim) {
    const int at = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (at >= count) return;
    const T *o = out + (long long)at * dim, *d = dout + (long long)at * dim;
    float sum = 0.0f;
    for (int c = lane; c < dim; c += 32) sum = __fmaf_rn(to_float(o[c]), to_float(d[c]), sum);
    sum = warp_sum(sum);
    if (lane == 0) delta[at] = sum;
}

// The probability of a score.
__device__ inline float probability(float score, float factor, float lse) {
    return ex2(__fmaf_rn(score, factor, -__fmul_rn(lse, LOG2_E)));
}

// Writes R rows of a warp, columns from col: row r of the warp is head_of(r) of row_of(r).
template <class T, class Locate>
__device__ void give_rows(const Gradients<T>& grad, const float (&sum)[R][N], float factor, int col, int dim,
                          Locate locate) {
#pragma unroll
    for (int r = 0; r < R; r++) {
        const int2 at = locate(r);  // row of the batch, or -1, and head
        if (at.x < 0) continue;
#pragma unroll
        for (int c = 0; c < N; c++) {
            const int column = col + threadIdx.x % 32 + 32 * c;
            if (column < dim) grad.give(at.x, at.y, column, __fmul_rn(sum[r][c], factor));
        }
    }
}

// dq: tiles of 32 rows in x; key heads and slices of 128 columns in y.
template <class T> __device__ void query_gradient(const Inputs<T>& in, const Gradients<T>& grad) {
    SHARED_MEMORY(shared);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = in.group();
    const int head = blockIdx.y % in.kv_heads, col = blockIdx.y / in.kv_heads * 32 * N;
    const Tile tile = find_tile(gridDim.x - 1 - blockIdx.x, in.segments, in.segment_count, group, TILE);
    const int rows = tile.queries * group, last = min(tile.start + TILE, rows) - 1;
    if (tile.start >= rows) return;
    const bool active = tile.start + warp * R <= last;  // the warp has rows
    const int end = last / group + 1, q_width = padded(in.qk_dim), o_width = padded(in.v_dim);

    float* chunk = (float*)shared;
    float* weights = chunk + CHUNK_FLOATS<N> + warp * R * KEYS;
    float* queries = chunk + CHUNK_FLOATS<N> + TILE * KEYS;
    float* douts = queries + TILE * q_width;
    const GroupRows<T> dout(grad.dout, tile.first, in.heads * in.v_dim, in.v_dim, head, group);
    const Rows<T> keys(in.keys(tile, head)), values(in.values(tile, head));
    load_vectors<TILE>(queries, q_width, in.queries(tile, head), tile.start, rows, 0, q_width, in.qk_dim);
    load_vectors<TILE>(douts, o_width, dout, tile.start, rows, 0, o_width, in.v_dim);

    int seen[R];
    float lse[R], delta[R], sum[R][N];
#pragma unroll
    for (int r = 0; r < R; r++) {
        const int row = min(tile.start + warp * R + r, last);
        const long long at = (long long)(tile.first + row / group) * in.heads + head * group + row % group;
        seen[r] = row / group + 1;
        lse[r] = grad.lse[at], delta[r] = grad.delta[at];
#pragma unroll
        for (int c = 0; c < N; c++) sum[r][c] = 0.0f;
    }
    for (int first = 0; first < end; first += KEYS) {
        float s[R][2], d[R][2];
        dots(s, queries, keys, first, end, in.qk_dim, chunk, active);
        dots(d, douts, values, first, end, in.v_dim, chunk, active);
#pragma unroll
        for (int r = 0; r < R; r++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const int key = lane + 32 * e;
                const float p = first + key < seen[r] ? probability(s[r][e], in.factor, lse[r]) : 0.0f;
                weights[r * KEYS + key] = __fmul_rn(p, __fsub_rn(d[r][e], delta[r]));
            }
        __syncwarp();
        add_weighted(sum, weights, keys, first, end, col, in.qk_dim, chunk, active);
    }
    give_rows(grad, sum, grad.scale, col, in.qk_dim, [&](int r) {
        const int row = tile.start + warp * R + r;
        return make_int2(row <= last ? tile.first + row / group : -1, head * group + row % group);
    });
}

// dk or dv: tiles of 32 keys in x; key heads and slices of 128 columns in y.
template <Gradient OF, class T> __device__ void key_gradient(const Inputs<T>& in, const Gradients<T>& grad) {
    SHARED_MEMORY(shared);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = in.group();
    const int head = blockIdx.y % in.kv_heads, col = blockIdx.y / in.kv_heads * 32 * N;
    const Tile tile = find_tile(blockIdx.x, in.segments, in.segment_count, 1, TILE);
    if (tile.start >= tile.queries) return;
    const bool active = tile.start + warp * R < tile.queries;  // the warp has keys
    const int rows = tile.queries * group, k_width = padded(in.qk_dim), v_width = padded(in.v_dim);

    float* chunk = (float*)shared;
    float* weights = chunk + CHUNK_FLOATS<N> + warp * R * KEYS;
    float* keys = chunk + CHUNK_FLOATS<N> + TILE * KEYS;
    float* values = keys + TILE * k_width;
    const GroupRows<T> queries = in.queries(tile, head);
    const GroupRows<T> dout(grad.dout, tile.first, in.heads * in.v_dim, in.v_dim, head, group);
    load_vectors<TILE>(keys, k_width, Rows<T>(in.keys(tile, head)), tile.start, tile.queries, 0, k_width, in.qk_dim);
    if (OF == DK)
        load_vectors<TILE>(values, v_width, Rows<T>(in.values(tile, head)), tile.start, tile.queries, 0, v_width,
                           in.v_dim);
    float sum[R][N];
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
        for (int c = 0; c < N; c++) sum[r][c] = 0.0f;
    // Earlier queries see none of these keys.
    for (int first = tile.start * group; first < rows; first += KEYS) {
        float s[R][2], d[R][2];
        dots(s, keys, queries, first, rows, in.qk_dim, chunk, active);
        if (OF == DK) dots(d, values, dout, first, rows, in.v_dim, chunk, active);
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int row = first + lane + 32 * e, query = min(row, rows - 1) / group;
            const long long at = (long long)(tile.first + query) * in.heads + head * group + min(row, rows - 1) % group;
            const float lse = grad.lse[at], delta = OF == DK ? grad.delta[at] : 0.0f;
#pragma unroll
            for (int r = 0; r < R; r++) {
                const bool seen = row < rows && tile.start + warp * R + r <= query;
                const float p = seen ? probability(s[r][e], in.factor, lse) : 0.0f;
                weights[r * KEYS + lane + 32 * e] = OF == DK ? __fmul_rn(p, __fsub_rn(d[r][e], delta)) : p;
            }
        }
        __syncwarp();
        if (OF == DK)
            add_weighted(sum, weights, queries, first, rows, col, in.qk_dim, chunk, active);
        else
            add_weighted(sum, weights, dout, first, rows, col, in.v_dim, chunk, active);
    }
    give_rows(grad, sum, OF == DK ? grad.scale : 1.0f, col, OF == DK ? in.qk_dim : in.v_dim, [&](int r) {
        const int key = tile.start + warp * R + r;
        return make_int2(key < tile.queries ? tile.first + key : -1, head);
    });
}

#define PARAMETERS(T) ATTENTION_GRADIENTS(T), ATTENTION_INPUTS(T)

}  // namespace

KERNEL(256, attention_delta_f32)(float* delta, const float* out, const float* dout, int count, int dim) {
    output_dot(delta, out, dout, count, dim);
}
KERNEL(256, attention_delta_bf16)(float* delta, const bf16* out, const bf16* dout, int count, int dim) {
    output_dot(delta, out, dout, count, dim);
}
KERNEL(256, attention_dq_f32)(PARAMETERS(float)) {
    query_gradient<float>(ATTENTION_ARGUMENTS, ATTENTION_GRADIENT_ARGUMENTS);
}
KERNEL(256, attention_dk_f32)(PARAMETERS(float)) {
    key_gradient<DK, float>(ATTENTION_ARGUMENTS, ATTENTION_GRADIENT_ARGUMENTS);
}
KERNEL(256, attention_dv_f32)(PARAMETERS(float)) {
    key_gradient<DV, float>(ATTENTION_ARGUMENTS, ATTENTION_GRADIENT_ARGUMENTS);
}
KERNEL(256, attention_dq_bf16)(PARAMETERS(bf16)) {
    query_gradient<bf16>(ATTENTION_ARGUMENTS, ATTENTION_GRADIENT_ARGUMENTS);
}
KERNEL(256, attention_dk_bf16)(PARAMETERS(bf16)) {
    key_gradient<DK, bf16>(ATTENTION_ARGUMENTS, ATTENTION_GRADIENT_ARGUMENTS);
}
KERNEL(256, attention_dv_bf16)(PARAMETERS(bf16)) {
    key_gradient<DV, bf16>(ATTENTION_ARGUMENTS, ATTENTION_GRADIENT_ARGUMENTS);
}
