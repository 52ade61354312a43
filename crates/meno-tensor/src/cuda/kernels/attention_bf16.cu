// Causal attention, forward, of bf16 heads whose widths are multiples of 16, on tensor cores. CPU:
// cpu/ops/attention.rs.
//
// The order of attention.cu, with sums as tensor cores add them: 16 columns, then 16 keys at a time. A row of a product
// does not depend on the other rows, so that one query alone has the bits it has in a tile.
#include "attention_mma.cuh"
#include "attention_softmax.cuh"

namespace {

// Tiles of 64 rows in x, key heads in y; 16 rows a warp. The next keys are copied during the softmax and the product
// with values, the next values during the next scores.
template <int QK, int V, class Keys>
__device__ void attend(bf16* out, float* lse, const Inputs<bf16>& in, int aligned) {
    SHARED_MEMORY(shared);
    constexpr bool HELD = QK <= 128;  // the queries stay in registers
    const uint32_t q_at = 0, k_at = TILE * 2 * QK, v_at = k_at + KEYS * 2 * QK, base = smem_u32(shared);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = in.group(), head = blockIdx.y;
    // The last tiles of a sequence have the most keys: they start first.
    const Tile tile = find_tile(gridDim.x - 1 - blockIdx.x, in.segments, in.segment_count, group, TILE);
    const int rows = tile.queries * group, mine = tile.start + 16 * warp;
    if (tile.start >= rows) return;
    // The keys that the tile sees, this warp, and the rows of this lane.
    const int end = tile.past + (min(tile.start + TILE, rows) - 1) / group + 1;
    const int warp_end = mine < rows ? tile.past + (min(mine + 16, rows) - 1) / group + 1 : 0;
    const int seen[2] = {tile.past + min(mine + lane / 4, rows - 1) / group + 1,
                         tile.past + min(mine + lane / 4 + 8, rows - 1) / group + 1};
    const Keys keys(in.keys(tile, head)), values(in.values(tile, head));

    load_tile<TILE, QK>(shared, q_at, in.queries(tile, head), tile.start, rows, in.qk_dim, aligned);
    load_tile<KEYS, QK>(shared, k_at, keys, 0, end, in.qk_dim, aligned);
    cp_async_commit();
    load_tile<KEYS, V>(shared, v_at, values, 0, end, in.v_dim, aligned);
    cp_async_commit();
    uint32_t held[HELD ? QK / 16 : 1][4];
    float sum[V / 8][4];
    Softmax softmax;
    softmax.start();
#pragma unroll
    for (int n = 0; n < V / 8; n++) sum[n][0] = sum[n][1] = sum[n][2] = sum[n][3] = 0.0f;

    for (int first = 0; first < end; first += KEYS) {
        const bool active = first < warp_end;
        float s[KEYS / 8][4];
        uint32_t p[KEYS / 16][4];
        cp_async_wait<1>();
        __syncthreads();  // the keys are there
        if (HELD && first == 0) {
#pragma unroll
            for (int kk = 0; kk < (HELD ? QK / 16 : 0); kk++)
                if (16 * kk < in.qk_dim) left<QK>(held[kk], base + q_at, 16 * warp, kk);
        }
        if (active) times_rows<QK, KEYS, HELD>(s, held, base + q_at, 16 * warp, base + k_at, in.qk_dim);
        __syncthreads();  // the keys are read
        if (first + KEYS < end) load_tile<KEYS, QK>(shared, k_at, keys, first + KEYS, end, in.qk_dim, aligned);
        cp_async_commit();
        if (active) {
            hide_keys(s, first, seen);
            softmax.add_block(s, in.factor);
            round_weights<KEYS>(p, s);
#pragma unroll
            for (int n = 0; n < V / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) sum[n][e] = __fmul_rn(sum[n][e], softmax.rescale[e / 2]);
        }
        cp_async_wait<1>();
        __syncthreads();  // the values are there
        if (active) add_times<V, KEYS>(sum, p, base + v_at, in.v_dim);
        __syncthreads();  // the values are read
        if (first + KEYS < end) load_tile<KEYS, V>(shared, v_at, values, first + KEYS, end, in.v_dim, aligned);
        cp_async_commit();
    }
    cp_async_wait<0>();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int row = mine + lane / 4 + 8 * h;
        const float total = quad_sum(softmax.sum[h]), inverse = __fdiv_rn(1.0f, total);
        if (row >= rows) continue;
        const long long at = (long long)(tile.first + row / group) * in.heads + head * group + row % group;
        if (lane % 4 == 0) lse[at] = softmax.log_sum_exp(h, total);
        uint32_t* to = (uint32_t*)(out + at * in.v_dim) + lane % 4;
#pragma unroll
        for (int n = 0; n < V / 8; n++)
            if (8 * n < in.v_dim)
                to[4 * n] = pack2(__fmul_rn(sum[n][2 * h], inverse), __fmul_rn(sum[n][2 * h + 1], inverse));
    }
}

#define PARAMETERS bf16 *out, float *lse, ATTENTION_INPUTS(bf16), int aligned
#define ATTEND(QK, V, Keys) attend<QK, V, Keys>(out, lse, ATTENTION_ARGUMENTS, aligned)

}  // namespace

// Where keys and values are, then the largest widths of keys and of values.
KERNEL(128, attention_mma_rows_64_64)(PARAMETERS) { ATTEND(64, 64, Rows<bf16>); }
KERNEL(128, attention_mma_rows_128_128)(PARAMETERS) { ATTEND(128, 128, Rows<bf16>); }
KERNEL(128, attention_mma_rows_192_128)(PARAMETERS) { ATTEND(192, 128, Rows<bf16>); }
KERNEL(128, attention_mma_rows_256_256)(PARAMETERS) { ATTEND(256, 256, Rows<bf16>); }
KERNEL(128, attention_mma_bf16_64_64)(PARAMETERS) { ATTEND(64, 64, Pages<bf16>); }
KERNEL(128, attention_mma_bf16_128_128)(PARAMETERS) { ATTEND(128, 128, Pages<bf16>); }
KERNEL(128, attention_mma_bf16_192_128)(PARAMETERS) { ATTEND(192, 128, Pages<bf16>); }
KERNEL(128, attention_mma_bf16_256_256)(PARAMETERS) { ATTEND(256, 256, Pages<bf16>); }
KERNEL(128, attention_mma_f32_64_64)(PARAMETERS) { ATTEND(64, 64, Pages<float>); }
KERNEL(128, attention_mma_f32_128_128)(PARAMETERS) { ATTEND(128, 128, Pages<float>); }
KERNEL(128, attention_mma_f32_192_128)(PARAMETERS) { ATTEND(192, 128, Pages<float>); }
KERNEL(128, attention_mma_f32_256_256)(PARAMETERS) { ATTEND(256, 256, Pages<float>); }
KERNEL(128, attention_mma_q8_0_64_64)(PARAMETERS) { ATTEND(64, 64, Pages<Q8>); }
KERNEL(128, attention_mma_q8_0_128_128)(PARAMETERS) { ATTEND(128, 128, Pages<Q8>); }
KERNEL(128, attention_mma_q8_0_192_128)(PARAMETERS) { ATTEND(192, 128, Pages<Q8>); }
KERNEL(128, attention_mma_q8_0_256_256)(PARAMETERS) { ATTEND(256, 256, Pages<Q8>); }
