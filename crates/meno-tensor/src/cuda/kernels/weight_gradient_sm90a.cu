// The gradient of a weight for compute capability 9.0, dw += dyT x, with TMA and wgmma. CPU: cpu/gemm.rs.
//
// Tiles of 128 x 256 of dw, or of its transpose, whichever has less padding. The first `whole` tiles are one chain over
// the rows of the batch. The rows of the other tiles, laid end to end in blocks of 64, are cut into `shares` equal
// shares, one for each block of threads; a tile that several shares meet is the sum of their chains in ascending order.
// The rule (product_sm90.rs) knows the shape only, so dw has the same bits in every run.
#include "weight_gradient_sm90a.cuh"

// How the tiles of the product (m x n, over k rows of the batch) are shared out. All are parameters of the kernel: the
// loop has no registers to spare for them.
struct Split {
    int row_tiles, column_tiles;
    int blocks;  // blocks of 64 rows of the batch
    int rounds;  // tiles of each block of threads that are one chain
    int whole;   // of all of them
    int shares;
    int total;   // the blocks of all tiles that are not whole

    __device__ __forceinline__ TilePlace tile(int index) const {
        return tile_place(index, row_tiles, column_tiles, BAND);
    }
    // The first block of a share, and the share that has a block. The host takes care that no number exceeds an int.
    __device__ __forceinline__ int start(int share) const { return total * share / shares; }
    __device__ __forceinline__ int share_of(int block) const { return ((block + 1) * shares - 1) / total; }
};

// A chain: a tile, blocks of 64 rows from `first` on, and the slot for the sums, or -1 if they are the whole tile.
struct Span {
    int tile, first, count, slot;
};

// Finds span `index` of this block of threads: first its whole tiles, then the tiles that its share meets. Returns false
// if it has no more.
__device__ __forceinline__ bool span_at(const Split& split, int index, Span& span) {
    const int share = blockIdx.x, blocks = split.blocks, rest = index - split.rounds;
    const int start = split.start(share), end = min(split.start(share + 1), split.total);
    const int tile = start / blocks + rest;
    const int from = max(start - tile * blocks, 0), to = min(end - tile * blocks, blocks);
    // Share + tile counts the spans: each next one is of another share, another tile, or both.
    const int slot = to - from == blocks ? -1 : share + tile;
    const bool whole = rest < 0;
    span.tile = whole ? share + index * int(gridDim.x) : split.whole + tile;
    span.first = whole ? 0 : from;
    span.count = whole ? blocks : to - from;
    span.slot = whole ? -1 : slot;
    return span.count > 0;
}

__device__ __forceinline__ void load_spans(const CUtensorMap* a, const CUtensorMap* b, const Ring& ring,
                                           const Split& split) {
    Turn turn;
    Span span;
    for (int index = 0; span_at(split, index, span); index++) {
        const TilePlace tile = split.tile(span.tile);
        for (int block = 0; block < span.count; block++) {
            load_block(a, b, ring, turn, tile, (span.first + block) * K_BLOCK);
            turn.next(STAGES);
        }
    }
}

// Where thread `thread` has its sums of group 0 in a slot; the next group is 256 further.
__device__ __forceinline__ float4* slot_of(float* sums, int slot, int thread) {
    return reinterpret_cast<float4*>(sums) + slot * (long long)(GROUPS * 256) + thread;
}

template <bool TRANSPOSED>
__device__ __forceinline__ void multiply_spans(const Gradient<TRANSPOSED>& dw, float* sums, const Ring& ring,
                                               const Split& split) {
    const int thread = threadIdx.x - 128;
    const uint64_t a = desc_a(ring, thread), b = desc_b(ring);
    float d[TILE_COLUMNS / 2];
    Turn turn;
    Span span;
    for (int index = 0; span_at(split, index, span); index++) {
        multiply<TILE_COLUMNS, MN_MAJOR, MN_MAJOR>(d, ring, turn, a, b, span.count);
        if (span.slot < 0) {
            add_tile(Place<TRANSPOSED>(dw, split.tile(span.tile), thread), d);
        } else {
            float4* to = slot_of(sums, span.slot, thread);
#pragma unroll
            for (int j = 0; j < GROUPS; j++)
                to[j * 256] = make_float4(d[4 * j], d[4 * j + 1], d[4 * j + 2], d[4 * j + 3]);
        }
    }
}

// a [k, m] and b [k, n]: boxes of 64 x 64. `sums` has a slot of 128 x 256 for each span that is not a whole tile.
template <bool TRANSPOSED>
__device__ __forceinline__ void weight_gradient(const CUtensorMap* a, const CUtensorMap* b,
                                                const Gradient<TRANSPOSED>& dw, float* sums, const Split& split) {
    load_and_multiply(
        a, b, [&](const Ring& ring) { load_spans(a, b, ring, split); },
        [&](const Ring& ring) { multiply_spans(dw, sums, ring, split); });
}

// Adds the spans of tile blockIdx.x of those that are not whole, group blockIdx.y, to dw. A thread has four sums.
template <bool TRANSPOSED>
__device__ __forceinline__ void add_shares(const Gradient<TRANSPOSED>& dw, const float* sums, const Split& split) {
    const int index = blockIdx.x, first = split.share_of(index * split.blocks);
    const int count = split.share_of((index + 1) * split.blocks - 1) - first + 1;
    if (count == 1) return;  // added already
    const float4* from = slot_of(const_cast<float*>(sums), first + index, threadIdx.x) + blockIdx.y * 256;
    float4 sum = from[0];
#pragma unroll 8
    for (int i = 1; i < count; i++) {
        const float4 next = from[i * (long long)(GROUPS * 256)];
        sum = make_float4(__fadd_rn(sum.x, next.x), __fadd_rn(sum.y, next.y), __fadd_rn(sum.z, next.z),
                          __fadd_rn(sum.w, next.w));
    }
    const Place<TRANSPOSED> place(dw, split.tile(split.whole + index), threadIdx.x);
    const float2 upper = place.load(0, blockIdx.y), lower = place.load(1, blockIdx.y);
    place.add(0, blockIdx.y, upper, sum.x, sum.y);
    place.add(1, blockIdx.y, lower, sum.z, sum.w);
}

#define MAPS const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_b
#define PARAMETERS                                                                                                   \
    float *dw, float *sums, int m, int n, int ld, int row_tiles, int column_tiles, int blocks, int rounds, int whole, \
        int shares, int total
#define GRADIENT(TRANSPOSED) Gradient<TRANSPOSED>{dw, m, n, ld}
#define SPLIT Split{row_tiles, column_tiles, blocks, rounds, whole, shares, total}

KERNEL(SOLE_384, weight_gradient_sm90a)(MAPS, PARAMETERS) {
    weight_gradient(&map_a, &map_b, GRADIENT(false), sums, SPLIT);
}
KERNEL(SOLE_384, weight_gradient_sm90a_transposed)(MAPS, PARAMETERS) {
    weight_gradient(&map_a, &map_b, GRADIENT(true), sums, SPLIT);
}
KERNEL(256, add_shares_sm90a)(PARAMETERS) { add_shares(GRADIENT(false), sums, SPLIT); }
KERNEL(256, add_shares_sm90a_transposed)(PARAMETERS) { add_shares(GRADIENT(true), sums, SPLIT); }
