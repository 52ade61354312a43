// The products of the rows of each expert for compute capability 9.0, with TMA and wgmma. CPU: cpu/ops/experts.rs.
//
// A block has one warpgroup of which one thread loads, and two that multiply: 64 rows each of a tile of 128 x COLUMNS.
// It takes one tile after the other, so that loads of a tile run during the end of the one before. An element is one
// chain over k in ascending steps of 16, as in experts_mma.cu.
//
// A tile has rows of one expert, but a box of x always has 128 rows: the last ones may be those of the next experts.
// They change only results that are not stored.
#include "experts.cuh"
#include "sm90a.cuh"

constexpr int ROWS = 128;
constexpr int CONSUMERS = 8;      // warps
constexpr int WEIGHT_ROWS = 128;  // of a box of weights with adjacent k

template <int COLUMNS> struct Memory {
    static constexpr int STAGES = COLUMNS == 256 ? 4 : 6;
    static constexpr uint32_t X_BYTES = ROWS * 128, BYTES = X_BYTES + COLUMNS * 128;
    static constexpr uint32_t STAGING = STAGES * BYTES;  // where staging starts: two buffers for each warp
    static constexpr uint32_t BARRIERS = STAGING + CONSUMERS * 2 * STAGING_BYTES;
};

// The tiles in the order in which the blocks take them: a list of rows, at most `most`, each with all columns.
struct Tiles {
    const Tile* rows;
    int most, columns;

    __device__ __forceinline__ int4 read(int index) const {
        const int row = index / columns;
        return row < most ? reinterpret_cast<const int4*>(rows)[row] : make_int4(0, 0, 0, 0);
    }
};

// The tiles of this block, one after the other. The next one is read ahead, so that nobody waits for it.
struct Walk {
    Tiles tiles;
    int index;
    int4 ahead;

    __device__ __forceinline__ explicit Walk(const Tiles& tiles)
        : tiles(tiles), index(blockIdx.x), ahead(tiles.read(index)) {}

    // Returns false if there are no more.
    __device__ __forceinline__ bool next(Tile& tile, int& column) {
        tile = {ahead.x, ahead.y, ahead.z, ahead.w};
        column = index % tiles.columns;
        index += gridDim.x;
        ahead = tiles.read(index);
        return tile.rows > 0;
    }
};

// A matrix of results in bf16; the map has boxes of 64 x 16.
struct Result {
    const CUtensorMap* map;
    bf16* at;
    int ld, columns;

    // Stores a warp's sums of 64 columns from `column` on. Of its 16 rows from `first` on, `rows` are the tile's: the
    // others are not written, since another block may.
    __device__ __forceinline__ void store(const float* sums, Staging& staging, int first, int rows, int column) const {
        if (rows <= 0 || column >= columns) return;
        if (rows >= 16) return staging.store(map, sums, column, first);
        const int row = threadIdx.x % 32 / 4;
        column += threadIdx.x % 4 * 2;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            if (row + 8 * half >= rows) continue;
            bf16* to = at + (first + row + 8 * half) * (long long)ld + column;
            const float* pairs = sums + 2 * half;
#pragma unroll
            for (int j = 0; j < 8; j++)
                if (column + 8 * j < columns)
                    *reinterpret_cast<uint32_t*>(to + 8 * j) = pack2(pairs[4 * j], pairs[4 * j + 1]);
        }
    }
};

// y = x wT, w [n][k] (K_MAJOR), or y = x w, w [k][n].
template <int COLUMNS_, Major MAJOR_> struct Product {
    static constexpr int COLUMNS = COLUMNS_;
    static constexpr Major MAJOR = MAJOR_;
    Result y;

    // Loads 64 k of an expert's weights for a tile of columns.
    __device__ __forceinline__ void load(uint32_t to, const CUtensorMap* w, int expert, int column, int k,
                                         uint32_t barrier) const {
        if (MAJOR == K_MAJOR) {
#pragma unroll
            for (int i = 0; i < COLUMNS; i += WEIGHT_ROWS)
                tma_load3(to + i * 128, w, k, column * COLUMNS + i, expert, barrier);
        } else {
#pragma unroll
            for (int i = 0; i < COLUMNS; i += 64) tma_load3(to + i * 128, w, column * COLUMNS + i, k, expert, barrier);
        }
    }
    // Stores a warp's sums of `rows` rows from `first` on.
    __device__ __forceinline__ void store(float (&d)[COLUMNS / 2], Staging& staging, int first, int rows,
                                          int column) const {
#pragma unroll
        for (int i = 0; i < COLUMNS; i += 64) y.store(d + i / 2, staging, first, rows, column * COLUMNS + i);
    }
};

// h = silu(gate) * up, for gate and up = x wT rounded to bf16; w has the rows of gate, then those of up. A tile of 256
// columns has 128 of gate and the same 128 of up. They are stored too, unless gate.at is null.
struct Swiglu {
    static constexpr int COLUMNS = 256, HALF = 128;
    static constexpr Major MAJOR = K_MAJOR;
    Result h, gate, up;

    __device__ __forceinline__ void load(uint32_t to, const CUtensorMap* w, int expert, int column, int k,
                                         uint32_t barrier) const {
        tma_load3(to, w, k, column * HALF, expert, barrier);
        tma_load3(to + HALF * 128, w, k, h.columns + column * HALF, expert, barrier);
    }
    __device__ __forceinline__ void store(float (&d)[COLUMNS / 2], Staging& staging, int first, int rows,
                                          int column) const {
#pragma unroll
        for (int i = 0; i < HALF; i += 64) {
            float *gates = d + i / 2, *ups = gates + HALF / 2;
            const int from = column * HALF + i;
            if (gate.at) {
                gate.store(gates, staging, first, rows, from);
                up.store(ups, staging, first, rows, from);
            }
#pragma unroll
            for (int j = 0; j < 32; j += 2) {
                const uint32_t g = pack2(gates[j], gates[j + 1]), u = pack2(ups[j], ups[j + 1]);
                gates[j] = swiglu_of(unpack_low(g), unpack_low(u));
                gates[j + 1] = swiglu_of(unpack_high(g), unpack_high(u));
            }
            h.store(gates, staging, first, rows, from);
        }
    }
};

// Loads the operands of this block's tiles. For one thread.
template <class Job>
__device__ __forceinline__ void load_tiles(const CUtensorMap* w, const CUtensorMap* x, const Job& job, const Ring& ring,
                                           const Tiles& tiles, int blocks) {
    Walk walk(tiles);
    Turn turn;
    Tile tile;
    int column;
    while (walk.next(tile, column)) {
        for (int block = 0; block < blocks; block++) {
            const uint32_t barrier = ring.fill(turn), at = ring.buffer(turn.stage);
            tma_load(at, x, block * K_BLOCK, tile.first, barrier);
            job.load(at + ROWS * 128, w, tile.expert, column, block * K_BLOCK, barrier);
            turn.next(ring.stages);
        }
    }
}

// Passes over buffers without reading them.
__device__ __forceinline__ void skip(const Ring& ring, Turn& turn, int blocks) {
    for (int block = 0; block < blocks; block++) {
        ring.wait(turn);
        ring.release(turn.stage);
        turn.next(ring.stages);
    }
}

// Multiplies and stores this block's tiles. For two warpgroups.
template <class Job>
__device__ __forceinline__ void multiply_tiles(const Job& job, const Ring& ring, const Tiles& tiles, int blocks,
                                               uint32_t buffers) {
    constexpr Major MAJOR = Job::MAJOR;
    const int warp = threadIdx.x / 32 - 4, group = warp / 4;
    const uint32_t w_at = ring.buffers + ROWS * 128;
    const uint64_t x = desc_k(ring.buffers + group * PANEL_BYTES);
    const uint64_t w = MAJOR == K_MAJOR ? desc_k(w_at) : desc_mn(w_at, PANEL_BYTES);
    Staging staging(buffers + warp * 2 * STAGING_BYTES);
    float d[Job::COLUMNS / 2];
    Walk walk(tiles);
    Turn turn;
    Tile tile;
    int column;
    while (walk.next(tile, column)) {
        if (group * 64 >= tile.rows) {
            skip(ring, turn, blocks);
            continue;
        }
        multiply<Job::COLUMNS, K_MAJOR, MAJOR>(d, ring, turn, x, w, blocks);
        job.store(d, staging, tile.first + warp * 16, tile.rows - warp * 16, column);
    }
    staging.finish();
}

// x: boxes of 64 x 128; w: the matrices of all experts, boxes of 64 x WEIGHT_ROWS, or of 64 x 64 if k is not adjacent.
// Blocks of 384 threads.
template <class Job>
__device__ __forceinline__ void run(const CUtensorMap* w, const CUtensorMap* x, const Job& job, const Tiles& tiles,
                                    int k) {
    typedef Memory<Job::COLUMNS> Memory;
    SHARED_MEMORY(shared);
    const uint32_t base = smem_u32(shared);
    const Ring ring(base, base + Memory::BARRIERS, Memory::STAGES, Memory::BYTES);
    if (threadIdx.x == 0) {
        prefetch_map(w);
        prefetch_map(x);
        ring.start(CONSUMERS);
    }
    __syncthreads();
    const int blocks = (k + K_BLOCK - 1) / K_BLOCK;
    // 40 registers for 128 threads and 232 for 256: what a multiprocessor has.
    if (threadIdx.x < 128) {
        reg_dec<40>();
        if (threadIdx.x == 0) load_tiles(w, x, job, ring, tiles, blocks);
    } else {
        reg_inc<232>();
        multiply_tiles(job, ring, tiles, blocks, base + Memory::STAGING);
    }
}

#define MAP(name) const __grid_constant__ CUtensorMap name
#define PARAMETERS                                                                                                   \
    MAP(map_w), MAP(map_x), MAP(map_y), bf16 *y, const Tile *tiles, int most, int columns, int n, int k
#define RUN(COLUMNS, MAJOR) \
    run(&map_w, &map_x, Product<COLUMNS, MAJOR>{{&map_y, y, n, n}}, Tiles{tiles, most, columns}, k)

// y [..][n] = x wT, and dx = dy w; `columns`: tiles of columns.
KERNEL(SOLE_384, experts_sm90a_forward_256)(PARAMETERS) { RUN(256, K_MAJOR); }
KERNEL(SOLE_384, experts_sm90a_forward_128)(PARAMETERS) { RUN(128, K_MAJOR); }
KERNEL(SOLE_384, experts_sm90a_input_gradient_256)(PARAMETERS) { RUN(256, MN_MAJOR); }
KERNEL(SOLE_384, experts_sm90a_input_gradient_128)(PARAMETERS) { RUN(128, MN_MAJOR); }

// h [..][width], and the products gate_up [..][2 * width], which may be null.
KERNEL(SOLE_384, experts_sm90a_swiglu)
(MAP(map_w), MAP(map_x), MAP(map_h), MAP(map_gate), MAP(map_up), bf16* h, bf16* gate_up, const Tile* tiles, int most,
 int columns, int width, int k) {
    const Result gate{&map_gate, gate_up, 2 * width, width}, up{&map_up, gate_up + width, 2 * width, width};
    run(&map_w, &map_x, Swiglu{{&map_h, h, width, width}, gate, up}, Tiles{tiles, most, columns}, k);
}
