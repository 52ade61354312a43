// Causal attention, backward, of bf16 heads, for compute capability 9.0, with TMA and wgmma. CPU: cpu/ops/attention.rs.
// The equations of attention_backward.cu; p and ds are rounded to bf16 before they are multiplied.
//
// One kernel for dq, one for dk and dv. A block has 128 queries, or keys, of a head: one warp loads, two warpgroups
// have 64 rows each. While one of these computes probabilities, tensor cores work for the other one and on products
// that it has started itself. Sums run over keys ascending for dq; for dk and dv over the heads of the group ascending,
// and in each over queries ascending. dq has the bits of attention_bf16_backward.cu; so have dk and dv where a key head
// has one query head.
#include "attention_sm90a.cuh"

namespace {

template <int COUNT> __device__ __forceinline__ void set_zero(float (&x)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) x[i] = 0.0f;
}

// A gradient to write or to add to, rows ld and heads stride apart.
struct Target {
    bf16* to;
    int ld, stride, add;

    // Gives row h of this lane's sums, times `factor`, to a row of a head.
    template <int COLUMNS>
    __device__ __forceinline__ void give(long long row, int head, const float (&sum)[COLUMNS / 2], int h,
                                         float factor) const {
        uint32_t* at = (uint32_t*)(to + row * ld + (long long)head * stride) + threadIdx.x % 4;
#pragma unroll
        for (int i = 0; i < COLUMNS / 8; i++) {
            const float x = __fmul_rn(sum[4 * i + 2 * h], factor), y = __fmul_rn(sum[4 * i + 2 * h + 1], factor);
            const uint32_t old = add ? at[4 * i] : 0;
            at[4 * i] = add ? pack2(__fadd_rn(unpack_low(old), x), __fadd_rn(unpack_high(old), y)) : pack2(x, y);
        }
    }
};

// The saved log-sum-exp and o·do of each row and head, and the factors of scores: factor is scale * log2(e).
struct Saved {
    const float *lse, *delta;
    int heads;
    float factor, scale;

    // The log-sum-exp in units of log2. 32 bits hold the place: the warp that loads has few registers.
    __device__ __forceinline__ float lse2(int row, int head) const {
        return __fmul_rn(lse[row * heads + head], LOG2_E);
    }
    __device__ __forceinline__ float dot(int row, int head) const { return delta[row * heads + head]; }
};

// The matrices of a head.
struct HeadInputs {
    Head q, k, v, dout;

    __device__ __forceinline__ void prefetch() const {
        prefetch_map(q.map);
        prefetch_map(k.map);
        prefetch_map(v.map);
        prefetch_map(dout.map);
    }
};

// ---- dq

// Shared memory: q and do of the block, the ring of keys and values, the barriers.
template <int QK, int V> struct QueryMemory {
    static constexpr int STAGES = QK == 64 ? 4 : 3;
    static constexpr uint32_t DOUT_AT = BLOCK_ROWS * 2 * QK, RING_AT = DOUT_AT + BLOCK_ROWS * 2 * V;
    static constexpr uint32_t VALUES_AT = KEYS * 2 * QK, BUFFER = VALUES_AT + KEYS * 2 * V;  // in a buffer
    static constexpr uint32_t BARRIERS = RING_AT + STAGES * BUFFER;
    uint32_t queries, dout, full;  // the barrier for q and do
    Ring ring;

    __device__ __forceinline__ explicit QueryMemory(uint32_t base)
        : queries(base), dout(base + DOUT_AT), full(base + BARRIERS + 16 * STAGES),
          ring(base + RING_AT, base + BARRIERS, STAGES, BUFFER) {}
    // Prepares the barriers for this many warps that multiply; for one thread, before a barrier of the block.
    __device__ __forceinline__ void start(int consumers) const {
        mbar_init(full, 1);
        ring.start(consumers);
    }
    // Loads the queries of a tile, then its keys and values. For one thread.
    __device__ __forceinline__ void load(const HeadInputs& in, const Tile& tile, int blocks) const {
        const int first = tile.first + tile.start;
        mbar_expect(full, RING_AT);  // all that lies before the ring
        in.q.load<QK>(queries, BLOCK_ROWS * 128, first, full);
        in.dout.load<V>(dout, BLOCK_ROWS * 128, first, full);
        Turn turn;
        for (int block = 0; block < blocks; block++) {
            const uint32_t barrier = ring.fill(turn), buffer = ring.buffer(turn.stage);
            in.k.load<QK>(buffer, PANEL_BYTES, tile.first + block * KEYS, barrier);
            in.v.load<V>(buffer + VALUES_AT, PANEL_BYTES, tile.first + block * KEYS, barrier);
            turn.next(STAGES);
        }
    }
};

// The work of a warpgroup: dq of 64 queries.
template <int QK, int V> struct QueryRows {
    static constexpr bool HELD = QK <= 128;  // else there are not enough registers
    Left<QK, HELD> q;
    Left<V, HELD> dout;
    float lse[2], delta[2];
    float s[KEYS / 2], dp[KEYS / 2];  // scores, then probabilities, then ds; do·v
    uint32_t ds[KEYS / 16][4];
    float sum[QK / 2];

    // Replaces scores by probabilities. `diagonal`: the keys are at the queries' own positions; later ones are hidden.
    __device__ __forceinline__ void probabilities(float factor, bool diagonal) {
#pragma unroll
        for (int i = 0; i < KEYS / 2; i++) s[i] = ex2(__fmaf_rn(s[i], factor, -lse[i / 2 % 2]));
        if (!diagonal) return;
        const int row = lane_row(), column = threadIdx.x % 4 * 2;
#pragma unroll
        for (int i = 0; i < KEYS / 2; i++)
            if (i / 4 * 8 + column + i % 2 > row + i / 2 % 2 * 8) s[i] = 0.0f;
    }
    __device__ __forceinline__ void score_gradients() {
#pragma unroll
        for (int i = 0; i < KEYS / 2; i++) s[i] = __fmul_rn(s[i], __fsub_rn(dp[i], delta[i / 2 % 2]));
        round<KEYS>(ds, s);
    }
};

// Computes dq of the 64 queries from `from` on in the tile, which see `blocks` blocks of keys. For a warpgroup.
template <int QK, int V>
__device__ __forceinline__ void sum_over_keys(QueryRows<QK, V>& rows, unsigned char* shared,
                                              const QueryMemory<QK, V>& memory, const Saved& saved, const Tile& tile,
                                              int from, int head, int blocks) {
    using Memory = QueryMemory<QK, V>;
    const Ring& ring = memory.ring;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int row = tile.first + min(tile.start + from + lane_row() + 8 * h, tile.queries - 1);
        rows.lse[h] = saved.lse2(row, head), rows.delta[h] = saved.dot(row, head);
    }
    mbar_wait(memory.full, 0);
    rows.q.start(memory.queries, from);
    rows.dout.start(memory.dout, from);
    set_zero(rows.sum);
    Turn turn;
    int previous = 0, block = 0;
    // A loop that might not run would define the sums in two places, which serializes wgmma.
    do {
        ring.wait(turn);
        const uint32_t keys = ring.buffer(turn.stage), values = keys + Memory::VALUES_AT;
        // The end of the sequence lies in the last block of the last queries, which no other warpgroup reads.
        const int inside = tile.queries - block * KEYS;
        if (inside < KEYS) {
            const int thread = threadIdx.x % 128;
            clear_rows<KEYS, QK>(shared + (keys - memory.queries), inside, thread, 128);
            clear_rows<KEYS, V>(shared + (values - memory.queries), inside, thread, 128);
            fence_proxy();
            named_bar(1, 128);
        }
        wg_fence();
        rows.q.template start_products<KEYS>(rows.s, keys);
        rows.dout.template start_products<KEYS>(rows.dp, values);
        wg_wait<1>();  // the scores, and the sums of the block before
        if (block > 0) ring.release(previous);
        rows.probabilities(saved.factor, block == blocks - 1);
        wg_wait<0>();
        rows.score_gradients();
        wg_fence();
        start_sums<KEYS, QK>(rows.sum, rows.ds, keys);
        previous = turn.stage;
        turn.next(Memory::STAGES);
    } while (++block < blocks);
    wg_wait<0>();
}

// Heads in x, tiles of 128 queries in y, those of the last positions first: they have the most keys.
template <int QK, int V>
__device__ __forceinline__ void query_gradient(const HeadInputs& in, const Target& target, const Saved& saved,
                                               const int4* segments, int segment_count) {
    SHARED_MEMORY(shared);
    const QueryMemory<QK, V> memory(smem_u32(shared));
    const int head = blockIdx.x;
    const Tile tile = find_tile(gridDim.y - 1 - blockIdx.y, segments, segment_count, 1, BLOCK_ROWS);
    if (tile.start >= tile.queries) return;
    // Warpgroups with queries, and blocks of keys of the last one.
    const int groups = tile.start + ROWS < tile.queries ? 2 : 1, blocks = tile.start / KEYS + groups;
    if (threadIdx.x == 0) {
        in.prefetch();
        memory.start(4 * groups);
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        reg_dec<24>();
        if (threadIdx.x == 0) memory.load(in, tile, blocks);
        return;
    }
    reg_inc<240>();
    const int group = threadIdx.x / 128 - 1, from = group * ROWS;
    if (group >= groups) return;
    QueryRows<QK, V> rows;
    sum_over_keys(rows, shared, memory, saved, tile, from, head, tile.start / KEYS + group + 1);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int position = tile.start + from + lane_row() + 8 * h;
        if (position < tile.queries)
            target.template give<QK>(tile.first + position, head, rows.sum, h, saved.scale);
    }
}

// ---- dk and dv

// Shared memory: k and v of the block, the ring of queries and do, the log-sum-exp and o·do of each buffer's queries,
// the barriers.
template <int QK, int V> struct KeyMemory {
    static constexpr int QUERIES = QK == 192 ? 32 : 64;  // of a buffer: 64 exceed the registers at 192 columns
    static constexpr int STAGES = QK == 128 ? 3 : 4;
    static constexpr uint32_t VALUES_AT = BLOCK_ROWS * 2 * QK, RING_AT = VALUES_AT + BLOCK_ROWS * 2 * V;
    static constexpr uint32_t DOUT_AT = QUERIES * 2 * QK, BUFFER = DOUT_AT + QUERIES * 2 * V;  // in a buffer
    static constexpr uint32_t STATS_AT = RING_AT + STAGES * BUFFER, BARRIERS = STATS_AT + STAGES * QUERIES * 8;
    uint32_t keys, values, full;  // the barrier for k and v
    Ring ring;

    __device__ __forceinline__ explicit KeyMemory(uint32_t base)
        : keys(base), values(base + VALUES_AT), full(base + BARRIERS + 16 * STAGES),
          ring(base + RING_AT, base + BARRIERS, STAGES, BUFFER) {}
    // Prepares the barriers for this many warps that multiply; for one thread, before a barrier of the block.
    __device__ __forceinline__ void start(int consumers) const {
        mbar_init(full, 1);
        ring.start(consumers);
    }
    // The log-sum-exp of a buffer's queries; o·do follows.
    __device__ __forceinline__ static float* stats(unsigned char* shared, int stage) {
        return (float*)(shared + STATS_AT) + stage * 2 * QUERIES;
    }
};

// The query heads that share a key head.
struct Group {
    int first, count, stride;
};

// Loads keys and values of a tile, then for each head of the group the `blocks` blocks of queries that see them, with
// their log-sum-exp and o·do. `in` has q and do from head 0 on. For a warp.
template <int QK, int V>
__device__ __forceinline__ void load_queries(const KeyMemory<QK, V>& memory, unsigned char* shared,
                                             const HeadInputs& in, const Group& group, const Saved& saved,
                                             const Tile& tile, int blocks) {
    using Memory = KeyMemory<QK, V>;
    constexpr int QUERIES = Memory::QUERIES, EACH = QUERIES / 32;
    const int lane = threadIdx.x;
    if (lane == 0) {
        mbar_expect(memory.full, Memory::RING_AT);  // all that lies before the ring
        in.k.load<QK>(memory.keys, BLOCK_ROWS * 128, tile.first + tile.start, memory.full);
        in.v.load<V>(memory.values, BLOCK_ROWS * 128, tile.first + tile.start, memory.full);
    }
    Turn turn;
#pragma unroll 1
    for (int head = group.first; head < group.first + group.count; head++)
#pragma unroll 1
        for (int block = 0; block < blocks; block++) {
            const int start = tile.start + block * QUERIES;
            float lse[EACH], delta[EACH];
#pragma unroll
            for (int x = 0; x < EACH; x++) {  // queries beyond the end get probability zero
                const int position = start + 32 * x + lane;
                const bool inside = position < tile.queries;
                lse[x] = inside ? saved.lse2(tile.first + position, head) : INFINITY;
                delta[x] = inside ? saved.dot(tile.first + position, head) : 0.0f;
            }
            memory.ring.wait_empty(turn);
            float* stats = Memory::stats(shared, turn.stage) + lane;
#pragma unroll
            for (int x = 0; x < EACH; x++) stats[32 * x] = lse[x], stats[32 * x + QUERIES] = delta[x];
            __syncwarp();
            if (lane == 0) {
                const uint32_t barrier = memory.ring.expect(turn), buffer = memory.ring.buffer(turn.stage);
                const Head q{in.q.map, head * group.stride}, dout{in.dout.map, head * V};
                q.load<QK>(buffer, QUERIES * 128, tile.first + start, barrier);
                dout.load<V>(buffer + Memory::DOUT_AT, QUERIES * 128, tile.first + start, barrier);
            }
            turn.next(Memory::STAGES);
        }
}

// The work of a warpgroup: dk and dv of 64 keys. Products with queries are transposed: rows are keys.
template <int QK, int V> struct KeyRows {
    static constexpr int QUERIES = KeyMemory<QK, V>::QUERIES;
    static constexpr bool HELD = QK == 64;  // else there are not enough registers
    Left<QK, HELD> k;
    Left<V, HELD> v;
    float s[QUERIES / 2], dp[QUERIES / 2];  // scores, then probabilities, then ds; v·do
    uint32_t p[QUERIES / 16][4], ds[QUERIES / 16][4];
    float dk[QK / 2], dv[V / 2];

    // Replaces scores by probabilities. `before`: how many queries of the buffer come before the first of the keys, to
    // which later keys are hidden; negative if all come after.
    __device__ __forceinline__ void probabilities(const float* lse, float factor, int before) {
        const int column = threadIdx.x % 4 * 2;
#pragma unroll
        for (int i = 0; i < QUERIES / 8; i++) {
            const float2 of = *(const float2*)(lse + 8 * i + column);
#pragma unroll
            for (int e = 0; e < 4; e++) s[4 * i + e] = ex2(__fmaf_rn(s[4 * i + e], factor, e % 2 ? -of.y : -of.x));
        }
        if (before <= -ROWS) return;
        const int row = lane_row() + before;
#pragma unroll
        for (int i = 0; i < QUERIES / 2; i++)
            if (i / 4 * 8 + column + i % 2 < row + i / 2 % 2 * 8) s[i] = 0.0f;
    }
    __device__ __forceinline__ void score_gradients(const float* delta) {
        const int column = threadIdx.x % 4 * 2;
#pragma unroll
        for (int i = 0; i < QUERIES / 8; i++) {
            const float2 of = *(const float2*)(delta + 8 * i + column);
#pragma unroll
            for (int e = 0; e < 4; e++)
                s[4 * i + e] = __fmul_rn(s[4 * i + e], __fsub_rn(dp[4 * i + e], e % 2 ? of.y : of.x));
        }
        round<QUERIES>(ds, s);
    }
};

// Computes dk and dv of the 64 keys from `from` on in the tile. `groups`: the warpgroups that do. For a warpgroup.
template <int QK, int V>
__device__ __forceinline__ void sum_over_queries(KeyRows<QK, V>& rows, unsigned char* shared,
                                                 const KeyMemory<QK, V>& memory, const Tile& tile, int from, int heads,
                                                 int blocks, int groups, float factor) {
    using Memory = KeyMemory<QK, V>;
    constexpr int QUERIES = Memory::QUERIES;
    const Ring& ring = memory.ring;
    mbar_wait(memory.full, 0);
    rows.k.start(memory.keys, from);
    rows.v.start(memory.values, from);
    set_zero(rows.dk);
    set_zero(rows.dv);
    const int skipped = from / QUERIES;  // blocks of queries before all of the keys
    Turn turn;
    for (int head = 0; head < heads; head++) {
        for (int block = 0; block < skipped; block++) {
            ring.wait(turn);
            ring.release(turn.stage);
            turn.next(Memory::STAGES);
        }
        int previous = 0;
        for (int block = skipped; block < blocks; block++) {
            ring.wait(turn);
            const uint32_t queries = ring.buffer(turn.stage), dout = queries + Memory::DOUT_AT;
            const int inside = tile.queries - tile.start - block * QUERIES;
            if (inside < QUERIES) {
                const int thread = threadIdx.x - 128;
                clear_rows<QUERIES, QK>(shared + (queries - memory.keys), inside, thread, groups * 128);
                clear_rows<QUERIES, V>(shared + (dout - memory.keys), inside, thread, groups * 128);
                fence_proxy();
                named_bar(1, groups * 128);
            }
            wg_fence();
            rows.k.template start_products<QUERIES>(rows.s, queries);
            rows.v.template start_products<QUERIES>(rows.dp, dout);
            wg_wait<1>();  // the scores, and dk of the block before
            if (block > skipped) ring.release(previous);
            const float* stats = Memory::stats(shared, turn.stage);
            rows.probabilities(stats, factor, from - block * QUERIES);
            round<QUERIES>(rows.p, rows.s);
            wg_fence();
            start_sums<QUERIES, V>(rows.dv, rows.p, dout);
            wg_wait<1>();  // v·do
            rows.score_gradients(stats + QUERIES);
            wg_fence();
            start_sums<QUERIES, QK>(rows.dk, rows.ds, queries);
            wg_wait<1>();  // dv
            previous = turn.stage;
            turn.next(Memory::STAGES);
        }
        wg_wait<0>();
        ring.release(previous);
    }
}

// Key heads in x, tiles of 128 keys in y: the first of a sequence have the most queries.
template <int QK, int V>
__device__ __forceinline__ void key_gradients(const HeadInputs& in, const Target& dk, const Target& dv,
                                              const Group& group, const Saved& saved, const int4* segments,
                                              int segment_count) {
    using Memory = KeyMemory<QK, V>;
    SHARED_MEMORY(shared);
    const Memory memory(smem_u32(shared));
    const Tile tile = find_tile(blockIdx.y, segments, segment_count, 1, BLOCK_ROWS);
    if (tile.start >= tile.queries) return;
    // Warpgroups with keys, and blocks of queries that see some.
    const int groups = tile.start + ROWS < tile.queries ? 2 : 1;
    const int blocks = (tile.queries - tile.start + Memory::QUERIES - 1) / Memory::QUERIES;
    if (threadIdx.x == 0) {
        in.prefetch();
        memory.start(4 * groups);
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        reg_dec<24>();
        if (threadIdx.x < 32) load_queries(memory, shared, in, group, saved, tile, blocks);
        return;
    }
    reg_inc<240>();
    const int warpgroup = threadIdx.x / 128 - 1, from = warpgroup * ROWS;
    if (warpgroup >= groups) return;
    KeyRows<QK, V> rows;
    sum_over_queries(rows, shared, memory, tile, from, group.count, blocks, groups, saved.factor);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int position = tile.start + from + lane_row() + 8 * h;
        if (position >= tile.queries) continue;
        dk.template give<QK>(tile.first + position, blockIdx.x, rows.dk, h, saved.scale);
        dv.template give<V>(tile.first + position, blockIdx.x, rows.dv, h, 1.0f);
    }
}

// q, k and v from the first head on, whose heads lie `stride` columns apart; `group` query heads share a key head.
// factor is scale * log2(e).
#define PARAMETERS                                                                                                \
    const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,                                 \
        const __grid_constant__ CUtensorMap v, const __grid_constant__ CUtensorMap dout, const float *lse,        \
        const float *delta, int heads, int group, int q_stride, int k_stride, int v_stride, float factor,         \
        float scale, const int4 *segments, int segment_count
#define DQ_PARAMETERS PARAMETERS, bf16 *dq, int dq_ld, int dq_add
#define DQ_OF(QK, V)                                                                                                  \
    const int head = blockIdx.x, kv_head = head / group;                                                              \
    const HeadInputs in{{&q, head * q_stride}, {&k, kv_head * k_stride}, {&v, kv_head * v_stride}, {&dout, head * V}};\
    query_gradient<QK, V>(in, {dq, dq_ld, q_stride, dq_add}, {lse, delta, heads, factor, scale}, segments,            \
                          segment_count)
#define DK_DV_PARAMETERS PARAMETERS, bf16 *dk, int dk_ld, int dk_add, bf16 *dv, int dv_ld, int dv_add
#define DK_DV_OF(QK, V)                                                                                               \
    const int kv_head = blockIdx.x;                                                                                   \
    const HeadInputs in{{&q, 0}, {&k, kv_head * k_stride}, {&v, kv_head * v_stride}, {&dout, 0}};                     \
    key_gradients<QK, V>(in, {dk, dk_ld, k_stride, dk_add}, {dv, dv_ld, v_stride, dv_add},                            \
                         {kv_head * group, group, q_stride}, {lse, delta, heads, factor, scale}, segments,            \
                         segment_count)

}  // namespace

// The widths of keys and of values.
KERNEL(SOLE_384, attention_sm90a_dq_64_64)(DQ_PARAMETERS) { DQ_OF(64, 64); }
KERNEL(SOLE_384, attention_sm90a_dq_128_128)(DQ_PARAMETERS) { DQ_OF(128, 128); }
KERNEL(SOLE_384, attention_sm90a_dq_192_128)(DQ_PARAMETERS) { DQ_OF(192, 128); }
KERNEL(SOLE_384, attention_sm90a_dk_dv_64_64)(DK_DV_PARAMETERS) { DK_DV_OF(64, 64); }
KERNEL(SOLE_384, attention_sm90a_dk_dv_128_128)(DK_DV_PARAMETERS) { DK_DV_OF(128, 128); }
KERNEL(SOLE_384, attention_sm90a_dk_dv_192_128)(DK_DV_PARAMETERS) { DK_DV_OF(192, 128); }
