// Causal attention, backward, of bf16 heads whose widths are multiples of 16, on tensor cores. CPU:
// cpu/ops/attention.rs. The equations and orders of attention_backward.cu; p and ds are rounded to bf16 before they are
// multiplied.
#include "attention_mma.cuh"

namespace {

// What the kernel of dk and dv needs of a streamed row: its log-sum-exp in units of log2, delta and its query.
template <int BLOCK> struct Stats {
    float lse[BLOCK], delta[BLOCK];
    int query[BLOCK];
};

// Rows beyond the end get probability zero.
template <int BLOCK>
__device__ inline void load_stats(Stats<BLOCK>& stats, const Inputs<bf16>& in, const Gradients<bf16>& grad,
                                  const Tile& tile, int head, int first, int rows) {
    const int group = in.group();
    for (int i = threadIdx.x; i < BLOCK; i += 128) {
        const int row = first + i;
        const bool inside = row < rows;
        const long long at = (long long)(tile.first + row / group) * in.heads + head * group + row % group;
        stats.lse[i] = inside ? __fmul_rn(grad.lse[at], LOG2_E) : INFINITY;
        stats.delta[i] = inside ? grad.delta[at] : 0.0f;
        stats.query[i] = row / group;
    }
}

// Writes or adds the sums of a lane: rows lane / 4 + 8 h at the row and head that `locate(h)` gives, or -1.
template <int D, class Locate>
__device__ inline void give_rows(const Gradients<bf16>& grad, const float (&sum)[D / 8][4], float factor, int dim,
                                 int stored, Locate locate) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int2 at = locate(h);
        if (at.x < 0) continue;
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            if (8 * n >= dim) continue;
            const int column = 8 * n + 2 * (threadIdx.x % 4);
            const float x = __fmul_rn(sum[n][2 * h], factor), y = __fmul_rn(sum[n][2 * h + 1], factor);
            if (stored) {  // pairs lie in 32-bit words
                uint32_t* to =
                    (uint32_t*)(grad.to + (long long)at.x * grad.to_ld + (long long)at.y * grad.to_stride + column);
                const uint32_t old = grad.add ? *to : 0;
                *to = grad.add ? pack2(__fadd_rn(unpack_low(old), x), __fadd_rn(unpack_high(old), y)) : pack2(x, y);
            } else {
                grad.give(at.x, at.y, column, x);
                grad.give(at.x, at.y, column + 1, y);
            }
        }
    }
}

// dq: tiles of 64 rows in x, key heads in y; blocks of BLOCK keys.
template <int QK, int V, int BLOCK>
__device__ void query_gradient(const Inputs<bf16>& in, const Gradients<bf16>& grad, int aligned, int stored) {
    SHARED_MEMORY(shared);
    const uint32_t q_at = 0, o_at = TILE * 2 * QK, k_at = o_at + TILE * 2 * V, v_at = k_at + BLOCK * 2 * QK;
    const uint32_t base = smem_u32(shared);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = in.group(), head = blockIdx.y;
    const Tile tile = find_tile(gridDim.x - 1 - blockIdx.x, in.segments, in.segment_count, group, TILE);
    const int rows = tile.queries * group, mine = tile.start + 16 * warp;
    if (tile.start >= rows) return;
    const int end = (min(tile.start + TILE, rows) - 1) / group + 1;
    const int warp_end = mine < rows ? (min(mine + 16, rows) - 1) / group + 1 : 0;
    const GroupRows<bf16> dout(grad.dout, tile.first, in.heads * in.v_dim, in.v_dim, head, group);
    const Rows<bf16> keys(in.keys(tile, head)), values(in.values(tile, head));
    load_tile<TILE, QK>(shared, q_at, in.queries(tile, head), tile.start, rows, in.qk_dim, aligned);
    load_tile<TILE, V>(shared, o_at, dout, tile.start, rows, in.v_dim, aligned);

    int seen[2];
    float lse[2], delta[2], sum[QK / 8][4];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int row = min(mine + lane / 4 + 8 * h, rows - 1);
        const long long at = (long long)(tile.first + row / group) * in.heads + head * group + row % group;
        seen[h] = row / group + 1, lse[h] = __fmul_rn(grad.lse[at], LOG2_E), delta[h] = grad.delta[at];
    }
#pragma unroll
    for (int n = 0; n < QK / 8; n++) sum[n][0] = sum[n][1] = sum[n][2] = sum[n][3] = 0.0f;
    for (int first = 0; first < end; first += BLOCK) {
        load_tile<BLOCK, QK>(shared, k_at, keys, first, end, in.qk_dim, aligned);
        load_tile<BLOCK, V>(shared, v_at, values, first, end, in.v_dim, aligned);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        if (first < warp_end) {
            float s[BLOCK / 8][4], d[BLOCK / 8][4];
            uint32_t w[BLOCK / 16][4];
            const uint32_t none[1][4] = {};
            times_rows<QK, BLOCK, false>(s, none, base + q_at, 16 * warp, base + k_at, in.qk_dim);
            times_rows<V, BLOCK, false>(d, none, base + o_at, 16 * warp, base + v_at, in.v_dim);
#pragma unroll
            for (int i = 0; i < BLOCK / 8; i++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const bool visible = first + 8 * i + 2 * (lane % 4) + e % 2 < seen[e / 2];
                    const float p = visible ? ex2(__fmaf_rn(s[i][e], in.factor, -lse[e / 2])) : 0.0f;
                    s[i][e] = __fmul_rn(p, __fsub_rn(d[i][e], delta[e / 2]));
                }
            round_weights<BLOCK>(w, s);
            add_times<QK, BLOCK>(sum, w, base + k_at, in.qk_dim);
        }
        __syncthreads();
    }
    give_rows<QK>(grad, sum, grad.scale, in.qk_dim, stored, [&](int h) {
        const int row = mine + lane / 4 + 8 * h;
        return make_int2(row < rows ? tile.first + row / group : -1, head * group + row % group);
    });
}

// dk or dv: tiles of 64 keys in x, key heads in y; blocks of BLOCK rows (queries and their heads).
template <Gradient OF, int QK, int V, int BLOCK>
__device__ void key_gradient(const Inputs<bf16>& in, const Gradients<bf16>& grad, int aligned, int stored) {
    SHARED_MEMORY(shared);
    constexpr int D = OF == DK ? QK : V;
    const uint32_t k_at = 0, v_at = TILE * 2 * QK, q_at = v_at + (OF == DK ? TILE * 2 * V : 0);
    const uint32_t o_at = q_at + BLOCK * 2 * QK, base = smem_u32(shared);
    Stats<BLOCK>& stats = *(Stats<BLOCK>*)(shared + o_at + BLOCK * 2 * V);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = in.group(), head = blockIdx.y;
    const Tile tile = find_tile(blockIdx.x, in.segments, in.segment_count, 1, TILE);
    if (tile.start >= tile.queries) return;
    const int rows = tile.queries * group, mine = tile.start + 16 * warp;
    const GroupRows<bf16> queries = in.queries(tile, head);
    const GroupRows<bf16> dout(grad.dout, tile.first, in.heads * in.v_dim, in.v_dim, head, group);
    const Rows<bf16> keys(in.keys(tile, head)), values(in.values(tile, head));
    load_tile<TILE, QK>(shared, k_at, keys, tile.start, tile.queries, in.qk_dim, aligned);
    if (OF == DK) load_tile<TILE, V>(shared, v_at, values, tile.start, tile.queries, in.v_dim, aligned);

    float sum[D / 8][4];
#pragma unroll
    for (int n = 0; n < D / 8; n++) sum[n][0] = sum[n][1] = sum[n][2] = sum[n][3] = 0.0f;
    // Earlier queries see none of these keys.
    for (int first = tile.start * group; first < rows; first += BLOCK) {
        load_tile<BLOCK, QK>(shared, q_at, queries, first, rows, in.qk_dim, aligned);
        load_tile<BLOCK, V>(shared, o_at, dout, first, rows, in.v_dim, aligned);
        load_stats(stats, in, grad, tile, head, first, rows);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        if (stats.query[BLOCK - 1] >= mine) {
            float s[BLOCK / 8][4], d[BLOCK / 8][4];
            uint32_t w[BLOCK / 16][4];
            const uint32_t none[1][4] = {};
            times_rows<QK, BLOCK, false>(s, none, base + k_at, 16 * warp, base + q_at, in.qk_dim);
            if (OF == DK) times_rows<V, BLOCK, false>(d, none, base + v_at, 16 * warp, base + o_at, in.v_dim);
#pragma unroll
            for (int i = 0; i < BLOCK / 8; i++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const int at = 8 * i + 2 * (lane % 4) + e % 2;
                    const bool visible = mine + lane / 4 + 8 * (e / 2) <= stats.query[at];
                    const float p = visible ? ex2(__fmaf_rn(s[i][e], in.factor, -stats.lse[at])) : 0.0f;
                    s[i][e] = OF == DK ? __fmul_rn(p, __fsub_rn(d[i][e], stats.delta[at])) : p;
                }
            round_weights<BLOCK>(w, s);
            add_times<D, BLOCK>(sum, w, base + (OF == DK ? q_at : o_at), OF == DK ? in.qk_dim : in.v_dim);
        }
        __syncthreads();
    }
    give_rows<D>(grad, sum, OF == DK ? grad.scale : 1.0f, OF == DK ? in.qk_dim : in.v_dim, stored, [&](int h) {
        const int key = mine + lane / 4 + 8 * h;
        return make_int2(key < tile.queries ? tile.first + key : -1, head);
    });
}

#define PARAMETERS ATTENTION_GRADIENTS(bf16), ATTENTION_INPUTS(bf16), int aligned, int stored
#define ARGUMENTS ATTENTION_ARGUMENTS, ATTENTION_GRADIENT_ARGUMENTS, aligned, stored

}  // namespace

// The largest widths of keys and of values. Blocks of 32 where larger ones exceed registers and shared memory.
KERNEL(128, attention_mma_dq_64_64)(PARAMETERS) { query_gradient<64, 64, 64>(ARGUMENTS); }
KERNEL(128, attention_mma_dq_128_128)(PARAMETERS) { query_gradient<128, 128, 64>(ARGUMENTS); }
KERNEL(128, attention_mma_dq_192_128)(PARAMETERS) { query_gradient<192, 128, 64>(ARGUMENTS); }
KERNEL(128, attention_mma_dq_256_256)(PARAMETERS) { query_gradient<256, 256, 32>(ARGUMENTS); }
KERNEL(128, attention_mma_dk_64_64)(PARAMETERS) { key_gradient<DK, 64, 64, 64>(ARGUMENTS); }
KERNEL(128, attention_mma_dk_128_128)(PARAMETERS) { key_gradient<DK, 128, 128, 64>(ARGUMENTS); }
KERNEL(128, attention_mma_dk_192_128)(PARAMETERS) { key_gradient<DK, 192, 128, 64>(ARGUMENTS); }
KERNEL(128, attention_mma_dk_256_256)(PARAMETERS) { key_gradient<DK, 256, 256, 32>(ARGUMENTS); }
KERNEL(128, attention_mma_dv_64_64)(PARAMETERS) { key_gradient<DV, 64, 64, 64>(ARGUMENTS); }
KERNEL(128, attention_mma_dv_128_128)(PARAMETERS) { key_gradient<DV, 128, 128, 64>(ARGUMENTS); }
KERNEL(128, attention_mma_dv_192_128)(PARAMETERS) { key_gradient<DV, 192, 128, 64>(ARGUMENTS); }
KERNEL(128, attention_mma_dv_256_256)(PARAMETERS) { key_gradient<DV, 256, 256, 32>(ARGUMENTS); }
