// The products of the experts on tensor cores, for bf16 and sizes that are multiples of 8. CPU: cpu/ops/experts.rs.
// A result is one chain over k in ascending steps of 16, whatever the number of rows.
#include "device.cuh"
#include "experts.cuh"

// A block of 128 threads computes 64 rows x 128 columns. Warp w has columns 32 w to 32 w + 31 of all rows: 4 x 4
// fragments of 16 x 8. k runs in blocks of 64 values through a ring of stages in shared memory.
constexpr int ROWS = 64, COLUMNS = 128, BLOCK = 64, STAGES = 3;
// A factor lies in shared memory as panels of 64 rows of 128 bytes, with the 128-byte swizzle. A stage has one panel of
// a and two of b; ops/experts.rs has the bytes of all stages.
constexpr int PANEL = 64 * 128, STAGE = 3 * PANEL;

// A factor whose rows are stored one after the other along k. Each thread copies 16 bytes of every 16th row.
template <int COPIES> struct AlongK {
    const bf16* row[COPIES];  // rows outside the matrix point to a row inside
    uint32_t inside;          // bit c: row[c] belongs to the matrix

    // Copies values k0 to k0 + 63 of all rows.
    __device__ __forceinline__ void copy(uint32_t to, int k0, int k) const {
        const int chunk = threadIdx.x % 8, at = k0 + chunk * 8;
#pragma unroll
        for (int c = 0; c < COPIES; c++) {
            const bool exists = at < k && (inside >> c & 1);
            cp_async16(to + swz(threadIdx.x / 8 + 16 * c, chunk), row[c] + (at < k ? at : 0), exists ? 16 : 0);
        }
    }
};

// Factor a from the first `rows` rows of x [..][k].
__device__ __forceinline__ AlongK<4> rows_along_k(const bf16* x, int rows, int k) {
    AlongK<4> factor;
    factor.inside = 0;
#pragma unroll
    for (int c = 0; c < 4; c++) {
        const int row = threadIdx.x / 8 + 16 * c;
        factor.row[c] = x + (row < rows ? row : 0) * (long long)k;
        factor.inside |= uint32_t(row < rows) << c;
    }
    return factor;
}

// A factor whose values along k lie in different rows: 64 rows of PANELS * 64 columns. row(l) is the row at l of k.
template <int PANELS, class Row>
__device__ __forceinline__ void copy_across_k(uint32_t to, int k0, int k, int col0, int cols, Row row) {
    const int chunk = threadIdx.x % 8;
#pragma unroll
    for (int c = 0; c < 4; c++) {
        const int l = threadIdx.x / 8 + 16 * c;
        const bf16* from = row(k0 + l < k ? k0 + l : 0);
#pragma unroll
        for (int panel = 0; panel < PANELS; panel++) {
            const int col = col0 + panel * 64 + chunk * 8;
            const bool exists = k0 + l < k && col < cols;
            cp_async16(to + panel * PANEL + swz(l, chunk), from + (col < cols ? col : 0), exists ? 16 : 0);
        }
    }
}

// The sums of a thread: fragment row, fragment column, and the four values of a fragment.
typedef float Sums[4][4][4];

// Multiplies one stage. `fragments` fragment rows have results.
template <bool A_ALONG_K, bool B_ALONG_K>
__device__ __forceinline__ void multiply_stage(Sums& sums, uint32_t a, uint32_t b, int fragments) {
    const int warp = threadIdx.x / 32, matrix = threadIdx.x % 32 / 8, r = threadIdx.x % 8;
    const int low = matrix % 2, high = matrix / 2;
#pragma unroll
    for (int step = 0; step < BLOCK / 16; step++) {
        uint32_t bs[2][4];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            if (B_ALONG_K) {
                const int col = warp * 32 + half * 16 + high * 8 + r;
                ldsm4(bs[half], b + swz(col, step * 2 + low));
            } else {
                const int chunk = warp * 4 + half * 2 + high;
                ldsm4t(bs[half], b + chunk / 8 * PANEL + swz(step * 16 + low * 8 + r, chunk % 8));
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (i >= fragments) continue;
            uint32_t as[4];
            if (A_ALONG_K)
                ldsm4(as, a + swz(i * 16 + low * 8 + r, step * 2 + high));
            else
                ldsm4t(as, a + swz(step * 16 + high * 8 + r, i * 2 + low));
#pragma unroll
            for (int j = 0; j < 4; j++)
                mma16816(sums[i][j], as[0], as[1], as[2], as[3], bs[j / 2][j % 2 * 2], bs[j / 2][j % 2 * 2 + 1]);
        }
    }
}

// Multiplies a and b over k. copy(a, b, k0) starts the copies of the block of k from k0 to two places.
template <bool A_ALONG_K, bool B_ALONG_K, class Copy>
__device__ __forceinline__ void multiply(Sums& sums, int k, int fragments, Copy copy) {
    SHARED_MEMORY(shared);
    const uint32_t base = smem_u32(shared);
    const int blocks = (k + BLOCK - 1) / BLOCK;
    const auto start = [&](int block) {
        const uint32_t a = base + block % STAGES * STAGE;
        if (block < blocks) copy(a, a + PANEL, block * BLOCK);
        cp_async_commit();
    };
#pragma unroll
    for (int block = 0; block < STAGES - 1; block++) start(block);
    for (int block = 0; block < blocks; block++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();  // the stage has arrived, and nobody reads the one that is filled next
        start(block + STAGES - 1);
        const uint32_t a = base + block % STAGES * STAGE;
        multiply_stage<A_ALONG_K, B_ALONG_K>(sums, a, a + PANEL, fragments);
    }
}

// Calls store(row, col, left, right) for neighbouring results of this thread within `rows` x `cols` of the block.
template <class Store>
__device__ __forceinline__ void for_pairs(const Sums& sums, int rows, int cols, Store store) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int row = i * 16 + half * 8 + lane / 4, col = warp * 32 + j * 8 + lane % 4 * 2;
                if (row < rows && col < cols) store(row, col, sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
            }
}

__device__ __forceinline__ void store_pair(bf16* to, float left, float right) {
    *reinterpret_cast<uint32_t*>(to) = pack2(left, right);
}
__device__ __forceinline__ int fragments_of(int rows) { return (rows + 15) / 16; }

// y = x . w transposed, w [n][k] in two parts. Grid: columns, tiles.
KERNEL(128, experts_mma_forward)
(bf16* y, const bf16* x, const bf16* const* first, const bf16* const* second, const Tile* tiles, int n, int k,
 int split) {
    const Tile tile = tiles[blockIdx.y];
    if (tile.rows == 0) return;
    const auto w = halves_of(first, second, tile.expert, split, k);
    const int n0 = blockIdx.x * COLUMNS;
    const AlongK<4> a = rows_along_k(x + tile.first * (long long)k, tile.rows, k);
    AlongK<8> b;
    b.inside = 0;
#pragma unroll
    for (int c = 0; c < 8; c++) {
        const int col = n0 + threadIdx.x / 8 + 16 * c;
        b.row[c] = w.row(col < n ? col : 0);
        b.inside |= uint32_t(col < n) << c;
    }
    Sums sums = {};
    multiply<true, true>(sums, k, fragments_of(tile.rows), [&](uint32_t to_a, uint32_t to_b, int k0) {
        a.copy(to_a, k0, k);
        b.copy(to_b, k0, k);
    });
    y += tile.first * (long long)n + n0;
    for_pairs(sums, tile.rows, n - n0, [&](int row, int col, float left, float right) {
        store_pair(y + row * (long long)n + col, left, right);
    });
}

// h = silu(x . gate transposed) * (x . up transposed), each rounded to bf16 first; gate, up [width][k]. The products go
// to gate_up [..][2 * width] too, unless it is null. Of its 32 columns, a warp has 16 of gate and the same 16 of up.
// Grid: 64 columns of h, tiles.
KERNEL(128, experts_mma_swiglu)
(bf16* h, bf16* gate_up, const bf16* x, const bf16* const* gate, const bf16* const* up, const Tile* tiles, int width,
 int k) {
    const Tile tile = tiles[blockIdx.y];
    if (tile.rows == 0) return;
    const bf16 *gate_matrix = gate[tile.expert], *up_matrix = up[tile.expert];
    const int n0 = blockIdx.x * (COLUMNS / 2);
    const AlongK<4> a = rows_along_k(x + tile.first * (long long)k, tile.rows, k);
    AlongK<8> b;
    b.inside = 0;
#pragma unroll
    for (int c = 0; c < 8; c++) {
        const int col = n0 + c / 2 * 16 + threadIdx.x / 8;  // even copies are rows of gate, odd ones of up
        b.row[c] = (c % 2 ? up_matrix : gate_matrix) + (col < width ? col : 0) * (long long)k;
        b.inside |= uint32_t(col < width) << c;
    }
    Sums sums = {};
    multiply<true, true>(sums, k, fragments_of(tile.rows), [&](uint32_t to_a, uint32_t to_b, int k0) {
        a.copy(to_a, k0, k);
        b.copy(to_b, k0, k);
    });
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int j = 0; j < 2; j++) {
                const int row = i * 16 + half * 8 + lane / 4, col = n0 + warp * 16 + j * 8 + lane % 4 * 2;
                if (row >= tile.rows || col >= width) continue;
                const uint32_t g = pack2(sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
                const uint32_t u = pack2(sums[i][j + 2][half * 2], sums[i][j + 2][half * 2 + 1]);
                const long long at = tile.first + row;
                if (gate_up) {
                    *reinterpret_cast<uint32_t*>(gate_up + at * 2 * width + col) = g;
                    *reinterpret_cast<uint32_t*>(gate_up + at * 2 * width + width + col) = u;
                }
                store_pair(h + at * width + col, swiglu_of(unpack_low(g), unpack_low(u)),
                           swiglu_of(unpack_high(g), unpack_high(u)));
            }
}

// dx = dy . w, w [k][n] in two parts. Grid: columns, tiles.
KERNEL(128, experts_mma_input_gradient)
(bf16* dx, const bf16* dy, const bf16* const* first, const bf16* const* second, const Tile* tiles, int n, int k,
 int split) {
    const Tile tile = tiles[blockIdx.y];
    if (tile.rows == 0) return;
    const auto w = halves_of(first, second, tile.expert, split, n);
    const int n0 = blockIdx.x * COLUMNS;
    const AlongK<4> a = rows_along_k(dy + tile.first * (long long)k, tile.rows, k);
    Sums sums = {};
    multiply<true, false>(sums, k, fragments_of(tile.rows), [&](uint32_t to_a, uint32_t to_b, int k0) {
        a.copy(to_a, k0, k);
        copy_across_k<2>(to_b, k0, k, n0, n, [&](int l) { return w.row(l); });
    });
    dx += tile.first * (long long)n + n0;
    for_pairs(sums, tile.rows, n - n0, [&](int row, int col, float left, float right) {
        store_pair(dx + row * (long long)n + col, left, right);
    });
}

// dw += dy transposed . x over an expert's rows, dw [n][cols] in two parts. Grid: column tiles of all row tiles of dw,
// experts.
KERNEL(128, experts_mma_weight_gradient)
(float* const* first, float* const* second, const bf16* dy, const bf16* x, const int* offsets, int n, int cols,
 int split) {
    const int expert = blockIdx.y, start = offsets[expert], rows = offsets[expert + 1] - start;
    if (rows == 0) return;
    const auto dw = halves_of(first, second, expert, split, cols);
    const int column_tiles = (cols + COLUMNS - 1) / COLUMNS;
    const int i0 = blockIdx.x / column_tiles * ROWS, j0 = blockIdx.x % column_tiles * COLUMNS;
    dy += start * (long long)n;
    x += start * (long long)cols;
    Sums sums = {};
    multiply<false, false>(sums, rows, 4, [&](uint32_t to_a, uint32_t to_b, int l0) {
        copy_across_k<1>(to_a, l0, rows, i0, n, [&](int l) { return dy + l * (long long)n; });
        copy_across_k<2>(to_b, l0, rows, j0, cols, [&](int l) { return x + l * (long long)cols; });
    });
    for_pairs(sums, n - i0, cols - j0, [&](int row, int col, float left, float right) {
        float2* to = reinterpret_cast<float2*>(dw.row(i0 + row) + j0 + col);
        const float2 old = *to;
        *to = make_float2(__fadd_rn(old.x, left), __fadd_rn(old.y, right));
    });
}
