// Causal attention, forward, of bf16 heads without a cache, for compute capability 9.0, with TMA and wgmma. CPU:
// cpu/ops/attention.rs.
//
// A block has 128 queries of a head: one thread loads, two warpgroups have 64 queries each. The scores of a block of
// keys and the product of the probabilities of the block before with its values are started together, so that tensor
// cores work during the softmax. All sums have the order of attention_bf16.cu, so all bits are equal.
#include "attention_sm90a.cuh"
#include "attention_softmax.cuh"

namespace {

constexpr int STAGES = 3;  // blocks of keys, and of values, in shared memory

// Shared memory: the queries, the rings of keys and of values, the barriers. A matrix lies in boxes of 64 columns.
template <int QK, int V> struct Memory {
    static constexpr uint32_t Q_BYTES = BLOCK_ROWS * 2 * QK, K_BYTES = KEYS * 2 * QK, V_BYTES = KEYS * 2 * V;
    static constexpr uint32_t KEYS_AT = Q_BYTES, VALUES_AT = KEYS_AT + STAGES * K_BYTES;
    static constexpr uint32_t KEY_BARRIERS = VALUES_AT + STAGES * V_BYTES;
    static constexpr uint32_t VALUE_BARRIERS = KEY_BARRIERS + 16 * STAGES;
    uint32_t queries, queries_full;
    Ring keys, values;

    __device__ __forceinline__ explicit Memory(uint32_t base)
        : queries(base),
          queries_full(base + VALUE_BARRIERS + 16 * STAGES),
          keys(base + KEYS_AT, base + KEY_BARRIERS, STAGES, K_BYTES),
          values(base + VALUES_AT, base + VALUE_BARRIERS, STAGES, V_BYTES) {}
    // Prepares the barriers for this many warps that multiply; for one thread, before a barrier of the block.
    __device__ __forceinline__ void start(int consumers) const {
        mbar_init(queries_full, 1);
        keys.start(consumers);
        values.start(consumers);
    }
};

// Loads the queries of a tile, then keys and values. For one thread.
template <int QK, int V>
__device__ __forceinline__ void load_blocks(const Memory<QK, V>& memory, const Tile& tile, Head q, Head k, Head v,
                                            int blocks) {
    mbar_expect(memory.queries_full, memory.Q_BYTES);
    q.load<QK>(memory.queries, 2 * PANEL_BYTES, tile.first + tile.start, memory.queries_full);
    Turn turn;
    for (int block = 0; block < blocks; block++) {
        const int row = tile.first + block * KEYS;
        k.load<QK>(memory.keys.buffer(turn.stage), PANEL_BYTES, row, memory.keys.fill(turn));
        v.load<V>(memory.values.buffer(turn.stage), PANEL_BYTES, row, memory.values.fill(turn));
        turn.next(STAGES);
    }
}

// The work of a warpgroup: 64 queries, 16 of each warp.
template <int QK, int V> struct Rows64 {
    Left<QK, true> q;
    float s[KEYS / 2];         // scores, then probabilities
    uint32_t p[KEYS / 16][4];  // probabilities in bf16
    float sum[V / 2];
    Softmax softmax;

    // `from`: the first of the queries in the tile.
    __device__ __forceinline__ void start(uint32_t queries, int from) {
        q.start(queries, from);
#pragma unroll
        for (int i = 0; i < V / 2; i++) sum[i] = 0.0f;
        softmax.start();
    }
    // Hides the keys after each query, in the block of keys at the queries' own positions.
    __device__ __forceinline__ void mask() {
        const int column = threadIdx.x % 4 * 2;
#pragma unroll
        for (int i = 0; i < KEYS / 8; i++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (8 * i + column + e % 2 > lane_row() + 8 * (e / 2)) s[4 * i + e] = -INFINITY;
    }
    // Prepares the product with the next values.
    __device__ __forceinline__ void prepare_sums() {
#pragma unroll
        for (int i = 0; i < V / 2; i++) sum[i] = __fmul_rn(sum[i], softmax.rescale[i / 2 % 2]);
        round<KEYS>(p, s);
    }
    // Writes the rows at positions from `from` on that the tile's sequence has.
    __device__ __forceinline__ void store(bf16* out, float* lse, const Tile& tile, int from, int head,
                                          int heads) const {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int position = from + lane_row() + 8 * h;
            const float total = quad_sum(softmax.sum[h]), inverse = __fdiv_rn(1.0f, total);
            if (position >= tile.queries) continue;
            const long long at = (long long)(tile.first + position) * heads + head;
            if (threadIdx.x % 4 == 0) lse[at] = softmax.log_sum_exp(h, total);
            uint32_t* to = (uint32_t*)(out + at * V) + threadIdx.x % 4;
#pragma unroll
            for (int i = 0; i < V / 8; i++)
                to[4 * i] = pack2(__fmul_rn(sum[4 * i + 2 * h], inverse), __fmul_rn(sum[4 * i + 2 * h + 1], inverse));
        }
    }
};

// Attends with the 64 queries from `from` on in the tile, which see `blocks` blocks of keys. For a warpgroup.
template <int QK, int V>
__device__ __forceinline__ void attend_rows(Rows64<QK, V>& rows, unsigned char* shared, const Memory<QK, V>& memory,
                                            const Tile& tile, int from, int blocks, float factor) {
    const Ring &keys = memory.keys, &values = memory.values;
    Turn k, v;
    mbar_wait(memory.queries_full, 0);
    rows.start(memory.queries, from);
    keys.wait(k);
    wg_fence();
    rows.q.template start_products<KEYS>(rows.s, keys.buffer(k.stage));
    wg_wait<0>();
    keys.release(k.stage);
    k.next(STAGES);
    if (blocks == 1) rows.mask();
    rows.softmax.add_block(rows.s, factor);
    for (int block = 1; block < blocks; block++) {
        // The wait for the sums of the round before stands here: at the end of the loop, the assembler would move it
        // ahead of the exponentials, and nothing would overlap.
        wg_wait<0>();
        if (block > 1) {
            values.release(v.stage);
            v.next(STAGES);
        }
        rows.prepare_sums();
        keys.wait(k);
        values.wait(v);
        wg_fence();
        rows.q.template start_products<KEYS>(rows.s, keys.buffer(k.stage));
        start_sums<KEYS, V>(rows.sum, rows.p, values.buffer(v.stage));
        wg_wait<1>();
        keys.release(k.stage);
        k.next(STAGES);
        if (block == blocks - 1) rows.mask();
        rows.softmax.add_block(rows.s, factor);
    }
    wg_wait<0>();
    if (blocks > 1) {
        values.release(v.stage);
        v.next(STAGES);
    }
    rows.prepare_sums();
    values.wait(v);
    // The end of the sequence lies in the last block of the last queries, which no other warpgroup reads.
    const int inside = tile.queries - (blocks - 1) * KEYS;
    if (inside < KEYS) {
        clear_rows<KEYS, V>(shared + (values.buffer(v.stage) - memory.queries), inside, threadIdx.x % 128, 128);
        fence_proxy();
        named_bar(1, 128);
    }
    wg_fence();
    start_sums<KEYS, V>(rows.sum, rows.p, values.buffer(v.stage));
    wg_wait<0>();
}

// Heads in x, tiles of 128 queries in y, those of the last positions first: they have the most keys. Blocks of one tile
// run at the same time, so that the heads of a group find keys and values in the L2 cache.
template <int QK, int V>
__device__ __forceinline__ void attend(Head q, Head k, Head v, bf16* out, float* lse, int heads, float factor,
                                       const int4* segments, int segment_count) {
    SHARED_MEMORY(shared);
    const Memory<QK, V> memory(smem_u32(shared));
    const Tile tile = find_tile(gridDim.y - 1 - blockIdx.y, segments, segment_count, 1, BLOCK_ROWS);
    if (tile.start >= tile.queries) return;
    // Warpgroups with queries, and blocks of keys of the last one.
    const int groups = tile.start + ROWS < tile.queries ? 2 : 1, blocks = tile.start / KEYS + groups;
    if (threadIdx.x == 0) {
        prefetch_map(q.map);
        prefetch_map(k.map);
        prefetch_map(v.map);
        memory.start(4 * groups);
    }
    __syncthreads();
    // 40 registers for 128 threads and 232 for 256: what a multiprocessor has. Heads of 64 columns need fewer.
    constexpr bool SPLIT_REGISTERS = QK > 64;
    if (threadIdx.x < 128) {
        if (SPLIT_REGISTERS) reg_dec<40>();
        if (threadIdx.x == 0) load_blocks(memory, tile, q, k, v, blocks);
    } else {
        if (SPLIT_REGISTERS) reg_inc<232>();
        const int group = threadIdx.x / 128 - 1, from = group * ROWS;
        if (group >= groups) return;
        Rows64<QK, V> rows;
        attend_rows(rows, shared, memory, tile, from, tile.start / KEYS + group + 1, factor);
        rows.store(out, lse, tile, tile.start + from, blockIdx.x, heads);
    }
}

// q, k and v from the first head on, whose heads lie `stride` columns apart; `group` query heads share a key head.
// factor is scale * log2(e).
#define PARAMETERS                                                                                              \
    const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,                               \
        const __grid_constant__ CUtensorMap v, bf16 *out, float *lse, int heads, int group, int q_stride,       \
        int k_stride, int v_stride, float factor, const int4 *segments, int segment_count
#define ATTEND(QK, V)                                                                                           \
    const int head = blockIdx.x, kv_head = head / group;                                                        \
    const Head q_head{&q, head * q_stride}, k_head{&k, kv_head * k_stride}, v_head{&v, kv_head * v_stride};     \
    attend<QK, V>(q_head, k_head, v_head, out, lse, heads, factor, segments, segment_count)

}  // namespace

// The widths of keys and of values.
KERNEL(384, attention_sm90a_64_64)(PARAMETERS) { ATTEND(64, 64); }
KERNEL(SOLE_384, attention_sm90a_128_128)(PARAMETERS) { ATTEND(128, 128); }
KERNEL(SOLE_384, attention_sm90a_192_128)(PARAMETERS) { ATTEND(192, 128); }
