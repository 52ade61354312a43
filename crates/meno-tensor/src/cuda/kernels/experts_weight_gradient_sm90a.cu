// The gradients of the experts' weights for compute capability 9.0, dw += dyT x over the rows of each expert, with TMA
// and wgmma. CPU: cpu/ops/experts.rs.
//
// Tiles of 128 x 256 of each dw, or of its transpose. An element is one chain over the expert's rows in ascending steps
// of 16, as in experts_mma.cu. The last box of an expert may reach into the rows of the next one: they are set to zero
// in shared memory.
#include "weight_gradient_sm90a.cuh"

// The gradients of all experts: m x n as the product sees them, `stride` elements apart.
template <bool TRANSPOSED> struct Gradients {
    Gradient<TRANSPOSED> first;
    long long stride;

    __device__ __forceinline__ Gradient<TRANSPOSED> of(int expert) const {
        return {first.at + expert * stride, first.m, first.n, first.ld};
    }
};

// The tiles of all experts, in the order in which the blocks take them.
struct Tiles {
    const int* offsets;  // the first row of each expert
    int experts, row_tiles, column_tiles;

    __device__ __forceinline__ int count() const { return experts * row_tiles * column_tiles; }
    __device__ __forceinline__ int expert(int index) const { return index / (row_tiles * column_tiles); }
    __device__ __forceinline__ TilePlace place(int index) const {
        return tile_place(index % (row_tiles * column_tiles), row_tiles, column_tiles, BAND);
    }
};

// Fetches part `part` of `parts` of a tile's old values into the L2 cache.
template <bool TRANSPOSED>
__device__ __forceinline__ void prefetch_tile(const Gradient<TRANSPOSED>& dw, TilePlace tile, int part, int parts) {
    const int row = tile.row * TILE_ROWS, column = tile.column * TILE_COLUMNS;
    const int rows = min(TILE_ROWS, dw.m - row), columns = min(TILE_COLUMNS, dw.n - column);
    // As dw is stored.
    const int first = TRANSPOSED ? column : row, from = TRANSPOSED ? row : column;
    const int count = TRANSPOSED ? columns : rows, length = TRANSPOSED ? rows : columns;
    for (int i = count * part / parts; i < count * (part + 1) / parts; i++)
        prefetch_l2(dw.at + (first + i) * (long long)dw.ld + from, length * sizeof(float));
}

template <bool TRANSPOSED>
__device__ __forceinline__ void load_tiles(const CUtensorMap* a, const CUtensorMap* b,
                                           const Gradients<TRANSPOSED>& dw, const Ring& ring, const Tiles& tiles) {
    Turn turn;
    for (int index = blockIdx.x; index < tiles.count(); index += gridDim.x) {
        const int expert = tiles.expert(index), first = tiles.offsets[expert], end = tiles.offsets[expert + 1];
        const int blocks = (end - first + K_BLOCK - 1) / K_BLOCK;
        const TilePlace tile = tiles.place(index);
        for (int block = 0; block < blocks; block++) {
            load_block(a, b, ring, turn, tile, first + block * K_BLOCK);
            turn.next(STAGES);
            prefetch_tile(dw.of(expert), tile, block, blocks);
        }
    }
}

// Sets the rows of a buffer from `row` on to zero, in all boxes. For the 256 threads that multiply.
__device__ __forceinline__ void clear_rows(unsigned char* buffer, int row, int thread) {
#pragma unroll
    for (int panel = 0; panel < BYTES / PANEL_BYTES; panel++)
        for (int i = row * 128 + thread * 16; i < PANEL_BYTES; i += 256 * 16)
            *reinterpret_cast<uint4*>(buffer + panel * PANEL_BYTES + i) = make_uint4(0, 0, 0, 0);
    fence_proxy();
    named_bar(1, 256);
}

template <bool TRANSPOSED>
__device__ __forceinline__ void multiply_tiles(const Gradients<TRANSPOSED>& dw, unsigned char* shared, const Ring& ring,
                                               const Tiles& tiles) {
    const int thread = threadIdx.x - 128;
    const uint64_t a = desc_a(ring, thread), b = desc_b(ring);
    float d[TILE_COLUMNS / 2];
    Turn turn;
    for (int index = blockIdx.x; index < tiles.count(); index += gridDim.x) {
        const int expert = tiles.expert(index), rows = tiles.offsets[expert + 1] - tiles.offsets[expert];
        const int whole = rows / K_BLOCK, rest = rows % K_BLOCK;
        if (rows == 0) continue;
        if (whole > 0) multiply<TILE_COLUMNS, MN_MAJOR, MN_MAJOR>(d, ring, turn, a, b, whole);
        if (rest > 0) {
            ring.wait(turn);
            clear_rows(shared + turn.stage * BYTES, rest, thread);
            const uint64_t offset = uint64_t(turn.stage * (BYTES >> 4));
            start_products<TILE_COLUMNS, MN_MAJOR, MN_MAJOR>(d, a + offset, b + offset, whole > 0);
            wg_wait<0>();
            ring.release(turn.stage);
            turn.next(STAGES);
        }
        add_tile(Place<TRANSPOSED>(dw.of(expert), tiles.place(index), thread), d);
    }
}

// a [rows, m] and b [rows, n]: boxes of 64 x 64.
template <bool TRANSPOSED>
__device__ __forceinline__ void weight_gradient(const CUtensorMap* a, const CUtensorMap* b,
                                                const Gradients<TRANSPOSED>& dw, const Tiles& tiles) {
    SHARED_MEMORY(shared);
    load_and_multiply(
        a, b, [&](const Ring& ring) { load_tiles(a, b, dw, ring, tiles); },
        [&](const Ring& ring) { multiply_tiles(dw, shared, ring, tiles); });
}

#define MAPS const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_b
#define PARAMETERS                                                                                                   \
    float *dw, long long stride, int m, int n, int ld, const int *offsets, int experts, int row_tiles, int column_tiles
#define RUN(TRANSPOSED)                                                                                              \
    weight_gradient(&map_a, &map_b, Gradients<TRANSPOSED>{{dw, m, n, ld}, stride},                                   \
                    Tiles{offsets, experts, row_tiles, column_tiles})

KERNEL(SOLE_384, experts_weight_gradient_sm90a)(MAPS, PARAMETERS) { RUN(false); }
KERNEL(SOLE_384, experts_weight_gradient_sm90a_transposed)(MAPS, PARAMETERS) { RUN(true); }
