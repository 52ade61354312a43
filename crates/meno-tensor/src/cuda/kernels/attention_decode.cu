// Causal attention, forward, of a few queries with keys and values in pages, for bf16 heads whose widths are multiples
// of 16, on tensor cores. CPU: cpu/ops/attention.rs.
//
// All sums have the order of attention_bf16.cu, so all bits are equal; what that order leaves free runs in parallel. A
// block has 16 rows. Four warps compute scores: they take four blocks of keys at once, exchange their largest scores,
// and with them know the largest score before each block. The other warps add probabilities times values, block by
// block; each has some columns of the values. A round is four blocks of keys.
#include "attention_pieces.cuh"
#include "attention_softmax.cuh"

namespace {

constexpr int ROWS = 16;          // of a block
constexpr int SCORE_WARPS = 4;    // and blocks of keys in a round
constexpr int SHARED = 99 << 10;  // bytes of shared memory: what every card has

// What a warp with scores hands over: probabilities as left operands, then factors of earlier sums and this block's
// parts of the sum.
constexpr int STEPS = KEYS / 16, MESSAGE_BYTES = (STEPS + 1) * 32 * 16;
// Shared memory: pieces of pages, queries, a round's messages, the largest scores of two rounds, those of all keys.
constexpr int LARGEST_AT = SHARED - 32 * 8, MAXIMA_AT = LARGEST_AT - 2 * SCORE_WARPS * ROWS * 4,
              MESSAGES_AT = MAXIMA_AT - SCORE_WARPS * MESSAGE_BYTES;
// Barriers: between the warps with scores; messages are written; messages are read.
constexpr int SCORES_DONE = 1, FULL = 2, EMPTY = 3;

// How a block divides its work for the largest widths QK and V.
template <class T, int QK, int V> struct Split {
    static constexpr int VALUE_WARPS = V <= 128 ? V / 32 : 4, WIDTH = V / VALUE_WARPS;
    static constexpr int THREADS = 32 * (SCORE_WARPS + VALUE_WARPS);
    static constexpr int QUERIES_AT = MESSAGES_AT - ROWS * QK * 2;
    // Half of the pieces are keys.
    static constexpr int PIECES = QUERIES_AT / Piece<T>::BYTES, KEY_DEPTH = (PIECES / SCORE_WARPS + 1) / 2,
                         VALUE_DEPTH = (PIECES - SCORE_WARPS * KEY_DEPTH) / VALUE_WARPS;
    typedef Ring<T, QK / Piece<T>::COLUMNS, KEY_DEPTH> Keys;
    typedef Ring<T, WIDTH / Piece<T>::COLUMNS, VALUE_DEPTH> Values;
};

// A tile of 16 rows of a key head, and the block's shared memory.
struct Work {
    Tile tile;
    int head, rows, end, blocks;  // rows of the segment; keys that the tile sees, and blocks of keys
    unsigned char* shared;

    __device__ uint4* message(int i) const {
        return (uint4*)(shared + MESSAGES_AT + i * MESSAGE_BYTES) + threadIdx.x % 32;
    }
    __device__ float* maxima(int round) const {
        return (float*)(shared + MAXIMA_AT) + round % 2 * SCORE_WARPS * ROWS + threadIdx.x % 32 / 4;
    }
    __device__ float2* largest() const { return (float2*)(shared + LARGEST_AT) + threadIdx.x % 32; }
};

// ---- warps with scores

// Two numbers of a row, as an operand; `aligned`: they lie in a word.
__device__ inline uint32_t load2(const bf16* x, int aligned) {
    return aligned ? *(const uint32_t*)x : pack2(to_float(x[0]), to_float(x[1]));
}

// 16 columns of the queries from 16 kk on, as a left operand; zeros beyond the last row and column.
__device__ inline uint4 load_queries(const Inputs<bf16>& in, const Work& work, int kk, int aligned) {
    const auto queries = in.queries(work.tile, work.head);
    const int lane = threadIdx.x % 32, column = 16 * kk + lane % 4 * 2;
    auto two = [&](int row, int more) {
        row += work.tile.start + lane / 4;
        return row < work.rows && 16 * kk < in.qk_dim ? load2(queries.row(row) + column + more, aligned) : 0;
    };
    return make_uint4(two(0, 0), two(8, 0), two(0, 8), two(8, 8));
}

// s = queries times the next keys, a chain over columns. Those behind the head's width add zeros.
template <class T, int QK, class Keys>
__device__ inline void multiply_keys(float (&s)[KEYS / 8][4], const uint4* queries, Keys& keys) {
    constexpr int COLUMNS = Piece<T>::COLUMNS;
#pragma unroll
    for (int i = 0; i < KEYS / 8; i++) s[i][0] = s[i][1] = s[i][2] = s[i][3] = 0.0f;
#pragma unroll
    for (int c = 0; c < QK / COLUMNS; c++) {
        const Piece<T> piece = keys.wait(c);
#pragma unroll
        for (int kk = 0; kk < COLUMNS / 16; kk++) {
            const uint4 x = queries[32 * (c * (COLUMNS / 16) + kk)];
            uint32_t y[KEYS / 16][4];
#pragma unroll
            for (int i = 0; i < KEYS / 16; i++) piece.keys(y[i], i, kk);
#pragma unroll
            for (int i = 0; i < KEYS / 16; i++) {
                mma16816(s[2 * i], x.x, x.y, x.z, x.w, y[i][0], y[i][1]);
                mma16816(s[2 * i + 1], x.x, x.y, x.z, x.w, y[i][2], y[i][3]);
            }
        }
        keys.release(c);
    }
}

// Returns a row's largest score before this warp's block. `before`: the one before the round, which becomes the one
// after it; `maxima`: those of the round's blocks.
__device__ inline float pass_round(float& before, const float* maxima) {
    float largest = before;
#pragma unroll
    for (int i = 0; i < SCORE_WARPS; i++) {
        if (i < threadIdx.x / 32) largest = fmaxf(largest, maxima[i * ROWS]);
        before = fmaxf(before, maxima[i * ROWS]);
    }
    return largest;
}

// The work of a warp with scores.
template <class T, int QK, int V>
__device__ void give_scores(const Inputs<bf16>& in, const Work& work, int aligned) {
    typedef Split<T, QK, V> Split;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    typename Split::Keys keys = {Pages<T>(in.keys(work.tile, work.head)), work.shared + warp * Split::Keys::BYTES,
                                 0, work.end, SCORE_WARPS, warp};
    keys.start();
    uint4* queries = (uint4*)(work.shared + Split::QUERIES_AT) + lane;
    for (int kk = warp; kk < QK / 16; kk += SCORE_WARPS) queries[32 * kk] = load_queries(in, work, kk, aligned);
    named_bar(SCORES_DONE, 32 * SCORE_WARPS);
    int seen[2];
    float before[2] = {-INFINITY, -INFINITY};
    for (int h = 0; h < 2; h++)
        seen[h] = work.tile.past + min(work.tile.start + lane / 4 + 8 * h, work.rows - 1) / in.group() + 1;

    for (int first = 0; first < work.blocks; first += SCORE_WARPS) {
        const int block = first + warp;
        const bool active = block < work.blocks;
        float s[KEYS / 8][4], part[2], most[2] = {-INFINITY, -INFINITY};
        uint32_t p[STEPS][4];
        Softmax softmax;
        if (active) {
            multiply_keys<T, QK>(s, queries, keys);
            hide_keys(s, block * KEYS, seen);
            for (int h = 0; h < 2; h++) most[h] = largest_score(s, h, in.factor);
        }
        float* maxima = work.maxima(first / SCORE_WARPS);
        if (lane % 4 == 0) maxima[warp * ROWS] = most[0], maxima[warp * ROWS + 8] = most[1];
        named_bar(SCORES_DONE, 32 * SCORE_WARPS);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            softmax.largest[h] = pass_round(before[h], maxima + 8 * h);
            softmax.raise(h, most[h]);
        }
        if (active) {
#pragma unroll
            for (int h = 0; h < 2; h++) part[h] = exponentials(s, h, in.factor, softmax.largest[h]);
            round_weights<KEYS>(p, s);
        }
        if (first > 0) named_bar(EMPTY, Split::THREADS);
        if (active) {
            uint4* message = work.message(warp);
#pragma unroll
            for (int kk = 0; kk < STEPS; kk++) message[32 * kk] = make_uint4(p[kk][0], p[kk][1], p[kk][2], p[kk][3]);
            *(float4*)(message + 32 * STEPS) = make_float4(softmax.rescale[0], softmax.rescale[1], part[0], part[1]);
            if (block + 1 == work.blocks) *work.largest() = make_float2(softmax.largest[0], softmax.largest[1]);
        }
        named_bar_arrive(FULL, Split::THREADS);
    }
    cp_async_wait<0>();
}

// ---- warps with values

// sum += probabilities times the next values, a chain over keys.
template <class T, int WIDTH, class Values>
__device__ inline void add_products(float (&sum)[WIDTH / 8][4], const uint4 (&p)[STEPS], Values& values) {
    constexpr int COLUMNS = Piece<T>::COLUMNS;
#pragma unroll
    for (int c = 0; c < WIDTH / COLUMNS; c++) {
        uint32_t y[STEPS][COLUMNS / 16][4];
        const Piece<T> piece = values.wait(c);
#pragma unroll
        for (int kk = 0; kk < STEPS; kk++)
#pragma unroll
            for (int n = 0; n < COLUMNS / 16; n++) piece.values(y[kk][n], kk, n);
        values.release(c);
#pragma unroll
        for (int kk = 0; kk < STEPS; kk++)
#pragma unroll
            for (int n = 0; n < COLUMNS / 16; n++) {
                const int at = c * (COLUMNS / 8) + 2 * n;
                mma16816(sum[at], p[kk].x, p[kk].y, p[kk].z, p[kk].w, y[kk][n][0], y[kk][n][1]);
                mma16816(sum[at + 1], p[kk].x, p[kk].y, p[kk].z, p[kk].w, y[kk][n][2], y[kk][n][3]);
            }
    }
}

// Writes a lane's rows: the columns from `column` on, and the log-sum-exp if that is 0.
template <int WIDTH>
__device__ inline void store_rows(bf16* out, float* lse, const Inputs<bf16>& in, const Work& work, int column,
                                  const float (&sum)[WIDTH / 8][4], const Softmax& softmax) {
    const int lane = threadIdx.x % 32, group = in.group();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int row = work.tile.start + lane / 4 + 8 * h;
        const float total = quad_sum(softmax.sum[h]), inverse = __fdiv_rn(1.0f, total);
        if (row >= work.rows) continue;
        const long long at = (long long)(work.tile.first + row / group) * in.heads + work.head * group + row % group;
        if (column == 0 && lane % 4 == 0) lse[at] = softmax.log_sum_exp(h, total);
        uint32_t* to = (uint32_t*)(out + at * in.v_dim + column) + lane % 4;
#pragma unroll
        for (int n = 0; n < WIDTH / 8; n++)
            if (column + 8 * n < in.v_dim)
                to[4 * n] = pack2(__fmul_rn(sum[n][2 * h], inverse), __fmul_rn(sum[n][2 * h + 1], inverse));
    }
}

// The work of a warp with values.
template <class T, int QK, int V>
__device__ void add_values(bf16* out, float* lse, const Inputs<bf16>& in, const Work& work) {
    typedef Split<T, QK, V> Split;
    const int warp = threadIdx.x / 32 - SCORE_WARPS, column = warp * Split::WIDTH;
    unsigned char* slots = work.shared + SCORE_WARPS * Split::Keys::BYTES + warp * Split::Values::BYTES;
    typename Split::Values values = {Pages<T>(in.values(work.tile, work.head)), slots, column, work.end, 1, 0};
    values.start();
    float sum[Split::WIDTH / 8][4];
    Softmax softmax;
    softmax.start();
#pragma unroll
    for (int n = 0; n < Split::WIDTH / 8; n++) sum[n][0] = sum[n][1] = sum[n][2] = sum[n][3] = 0.0f;

    for (int first = 0; first < work.blocks; first += SCORE_WARPS) {
        named_bar(FULL, Split::THREADS);
        for (int i = 0; i < min(SCORE_WARPS, work.blocks - first); i++) {
            const uint4* message = work.message(i);
            const float4 factors = *(const float4*)(message + 32 * STEPS);
            uint4 p[STEPS];
#pragma unroll
            for (int kk = 0; kk < STEPS; kk++) p[kk] = message[32 * kk];
            softmax.rescale[0] = factors.x, softmax.rescale[1] = factors.y;
            softmax.add(0, factors.z), softmax.add(1, factors.w);
#pragma unroll
            for (int n = 0; n < Split::WIDTH / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) sum[n][e] = __fmul_rn(sum[n][e], softmax.rescale[e / 2]);
            add_products<T, Split::WIDTH>(sum, p, values);
        }
        if (first + SCORE_WARPS < work.blocks) named_bar_arrive(EMPTY, Split::THREADS);
    }
    cp_async_wait<0>();
    softmax.largest[0] = work.largest()->x, softmax.largest[1] = work.largest()->y;
    store_rows<Split::WIDTH>(out, lse, in, work, column, sum, softmax);
}

// Tiles of 16 rows in x, key heads in y.
template <class T, int QK, int V>
__device__ void attend(bf16* out, float* lse, const Inputs<bf16>& in, int aligned) {
    SHARED_MEMORY(shared);
    const int group = in.group();
    // The last tiles of a sequence have the most keys: they start first.
    const Tile tile = find_tile(gridDim.x - 1 - blockIdx.x, in.segments, in.segment_count, group, ROWS);
    const int rows = tile.queries * group;
    if (tile.start >= rows) return;
    const int end = tile.past + (min(tile.start + ROWS, rows) - 1) / group + 1;
    const Work work = {tile, int(blockIdx.y), rows, end, (end + KEYS - 1) / KEYS, shared};
    if (threadIdx.x < 32 * SCORE_WARPS)
        give_scores<T, QK, V>(in, work, aligned);
    else
        add_values<T, QK, V>(out, lse, in, work);
}

#define PARAMETERS bf16 *out, float *lse, ATTENTION_INPUTS(bf16), int aligned
#define ATTEND(T, QK, V) attend<T, QK, V>(out, lse, ATTENTION_ARGUMENTS, aligned)

}  // namespace

// What pages hold, then the largest widths of keys and of values.
KERNEL(192, attention_decode_bf16_64_64)(PARAMETERS) { ATTEND(bf16, 64, 64); }
KERNEL(256, attention_decode_bf16_128_128)(PARAMETERS) { ATTEND(bf16, 128, 128); }
KERNEL(256, attention_decode_bf16_192_128)(PARAMETERS) { ATTEND(bf16, 192, 128); }
KERNEL(256, attention_decode_bf16_256_256)(PARAMETERS) { ATTEND(bf16, 256, 256); }
KERNEL(192, attention_decode_f32_64_64)(PARAMETERS) { ATTEND(float, 64, 64); }
KERNEL(256, attention_decode_f32_128_128)(PARAMETERS) { ATTEND(float, 128, 128); }
KERNEL(256, attention_decode_f32_192_128)(PARAMETERS) { ATTEND(float, 192, 128); }
KERNEL(256, attention_decode_f32_256_256)(PARAMETERS) { ATTEND(float, 256, 256); }
KERNEL(192, attention_decode_q8_0_64_64)(PARAMETERS) { ATTEND(Q8, 64, 64); }
KERNEL(256, attention_decode_q8_0_128_128)(PARAMETERS) { ATTEND(Q8, 128, 128); }
KERNEL(256, attention_decode_q8_0_192_128)(PARAMETERS) { ATTEND(Q8, 192, 128); }
KERNEL(256, attention_decode_q8_0_256_256)(PARAMETERS) { ATTEND(Q8, 256, 256); }
