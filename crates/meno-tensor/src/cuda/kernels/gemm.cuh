// What the products of bf16 matrices with mma.sync share: tiles of operands in shared memory, fragments, and results.
#pragma once
#include "device.cuh"

// A matrix of which a block reads a strip, as operand of a product over k. K_ADJACENT: element (i, l) is
// at[i * ld + l], otherwise at[l * ld + i]; i < count. Rows start at multiples of 16 bytes.
struct Matrix {
    const bf16* at;
    int ld, count;
};

// The tile of T x TK elements of an operand in shared memory, in swizzled rows of 16-byte chunks: rows of TK elements
// if K_ADJACENT, otherwise TK rows of 64 elements, panel by panel.
template <int T, int TK, bool K_ADJACENT> struct Tile {
    static constexpr int BYTES = T * TK * 2;
    static constexpr bool TRANSPOSED = !K_ADJACENT;  // as ldmatrix sees it
    static_assert(TK == 32 || TK == 64, "a row is 64 or 128 bytes");
    static_assert(K_ADJACENT || T % 64 == 0, "a panel has 64 elements");

    // The offset of a chunk: row i if K_ADJACENT, otherwise row l.
    static __device__ __forceinline__ uint32_t offset(int row, int chunk) {
        if (!K_ADJACENT) return chunk / 8 * (TK * 128) + swz(row, chunk % 8);
        return TK == 64 ? swz(row, chunk) : row * 64 + ((chunk ^ (row >> 1 & 3)) << 4);
    }

    // The address that this lane gives to ldmatrix for elements from (i, l), multiples of 8: `i_half` and `l_half` say
    // whether its matrix is the second along i and along l.
    static __device__ __forceinline__ uint32_t address(uint32_t tile, int i, int l, int i_half, int l_half) {
        const int lane = threadIdx.x % 8;
        if (K_ADJACENT) return tile + offset(i + i_half * 8 + lane, l / 8 + l_half);
        return tile + offset(l + l_half * 8 + lane, i / 8 + i_half);
    }

    // Starts the copy of the tile at (first, k0), with the block's THREADS threads.
    template <int THREADS>
    static __device__ __forceinline__ void load(uint32_t tile, Matrix x, int first, int k0, int k_end) {
        constexpr int CHUNKS = (K_ADJACENT ? TK : T) / 8, ROWS = K_ADJACENT ? T : TK, STEP = THREADS / CHUNKS;
        const int row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
        const int start_row = K_ADJACENT ? first : k0, end_row = K_ADJACENT ? x.count : k_end;
        const int column = (K_ADJACENT ? k0 : first) + chunk * 8, end_column = K_ADJACENT ? k_end : x.count;
        const int bytes = min(max((end_column - column) * 2, 0), 16);
        const bf16* from = x.at + (start_row + row) * (long long)x.ld + column;
#pragma unroll
        for (int i = 0; i < (ROWS + STEP - 1) / STEP; i++) {
            const int r = row + i * STEP;
            if (ROWS % STEP != 0 && r >= ROWS) break;
            const bool inside = start_row + r < end_row && bytes > 0;
            cp_async16(tile + offset(r, chunk), inside ? from + i * STEP * (long long)x.ld : x.at, inside ? bytes : 0);
        }
    }
};

// Where results go, in the frame of the product: y[row * ld + column], or y[column * ld + row] if the operands are
// swapped; then the bias belongs to rows.
template <class Y> struct Output {
    Y* y;
    const float *bias, *residual;
    int ld, add;
    int pairs;  // two adjacent elements, from an even column, are aligned

    __device__ __forceinline__ float finish(float value, float bias, float residual, float old) const {
        if (this->bias) value = __fadd_rn(value, bias);
        if (this->residual) value = __fadd_rn(residual, value);
        return add ? __fadd_rn(old, value) : value;
    }
    __device__ __forceinline__ void one(float value, long long at, int column) const {
        value = finish(value, bias ? bias[column] : 0.0f, residual ? residual[at] : 0.0f, add ? to_float(y[at]) : 0.0f);
        y[at] = from_float<Y>(value);
    }
    __device__ __forceinline__ void two(float first, float second, long long at, int column) const;
};
template <> __device__ inline void Output<float>::two(float first, float second, long long at, int column) const {
    float2 old = {}, r = {};
    if (add) old = *reinterpret_cast<const float2*>(y + at);
    if (residual) r = *reinterpret_cast<const float2*>(residual + at);
    first = finish(first, bias ? bias[column] : 0.0f, r.x, old.x);
    second = finish(second, bias ? bias[column + 1] : 0.0f, r.y, old.y);
    *reinterpret_cast<float2*>(y + at) = make_float2(first, second);
}
template <> __device__ inline void Output<bf16>::two(float first, float second, long long at, int column) const {
    uint32_t old = 0;
    float2 r = {};
    if (add) old = *reinterpret_cast<const uint32_t*>(y + at);
    if (residual) r = *reinterpret_cast<const float2*>(residual + at);
    first = finish(first, bias ? bias[column] : 0.0f, r.x, unpack_low(old));
    second = finish(second, bias ? bias[column + 1] : 0.0f, r.y, unpack_high(old));
    *reinterpret_cast<uint32_t*>(y + at) = pack2(first, second);
}

// A product with tiles of TM x TN; a warp has WM x WN of them. TK: the step along k of a stage.
template <int TM_, int TN_, int WM_, int WN_, int TK_, int STAGES_> struct Shape {
    static constexpr int TM = TM_, TN = TN_, WM = WM_, WN = WN_, TK = TK_, STAGES = STAGES_;
    static constexpr int THREADS = TM / WM * (TN / WN) * 32;
};

// The fragments of N columns of a product, from (n, l), for one step of 16 along k.
template <int N, class TileB>
__device__ __forceinline__ void load_columns(uint32_t (&b)[N / 8][2], uint32_t tile_b, int n, int l) {
    const int low = threadIdx.x >> 3 & 1, high = threadIdx.x >> 4 & 1;
    if constexpr (N == 8) {
        ldsm2(b[0], TileB::address(tile_b, n, l, 0, low));
    } else {
#pragma unroll
        for (int j = 0; j < N / 16; j++) {
            uint32_t pair[4];
            const uint32_t from = TileB::address(tile_b, n + j * 16, l, high, low);
            TileB::TRANSPOSED ? ldsm4t(pair, from) : ldsm4(pair, from);
            b[j * 2][0] = pair[0], b[j * 2][1] = pair[1];
            b[j * 2 + 1][0] = pair[2], b[j * 2 + 1][1] = pair[3];
        }
    }
}

// The fragments of a warp for one step of 16 along k.
template <class S> struct Fragments {
    uint32_t a[S::WM / 16][4], b[S::WN / 8][2];

    template <class TileA, class TileB>
    __device__ __forceinline__ void load(uint32_t tile_a, uint32_t tile_b, int m, int n, int l) {
        const int low = threadIdx.x >> 3 & 1, high = threadIdx.x >> 4 & 1;
#pragma unroll
        for (int i = 0; i < S::WM / 16; i++) {
            const uint32_t from = TileA::address(tile_a, m + i * 16, l, low, high);
            TileA::TRANSPOSED ? ldsm4t(a[i], from) : ldsm4(a[i], from);
        }
        load_columns<S::WN, TileB>(b, tile_b, n, l);
    }
};

// Adds the products over one stage to the sums.
template <class S, class TileA, class TileB>
__device__ inline void multiply(float (&sum)[S::WM / 16][S::WN / 8][4], uint32_t tile_a, uint32_t tile_b,
                                         int m, int n) {
    Fragments<S> f[2];
    f[0].template load<TileA, TileB>(tile_a, tile_b, m, n, 0);
#pragma unroll
    for (int step = 0; step < S::TK / 16; step++) {
        if (step + 1 < S::TK / 16)
            f[(step + 1) % 2].template load<TileA, TileB>(tile_a, tile_b, m, n, (step + 1) * 16);
        const Fragments<S>& now = f[step % 2];
#pragma unroll
        for (int i = 0; i < S::WM / 16; i++)
#pragma unroll
            for (int j = 0; j < S::WN / 8; j++)
                mma16816(sum[i][j], now.a[i][0], now.a[i][1], now.a[i][2], now.a[i][3], now.b[j][0], now.b[j][1]);
    }
}

// Writes the sums of a warp whose elements start at (m, n).
template <class S, class Y>
__device__ inline void store(const Output<Y>& out, float (&sum)[S::WM / 16][S::WN / 8][4], int m, int n,
                                      int rows, int columns) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < S::WM / 16; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = m + i * 16 + half * 8 + lane / 4;
            if (row >= rows) continue;
#pragma unroll
            for (int j = 0; j < S::WN / 8; j++) {
                const int column = n + j * 8 + lane % 4 * 2;
                const long long at = row * (long long)out.ld + column;
                const float first = sum[i][j][half * 2], second = sum[i][j][half * 2 + 1];
                if (out.pairs && column + 1 < columns) {
                    out.two(first, second, at, column);
                    continue;
                }
                if (column < columns) out.one(first, at, column);
                if (column + 1 < columns) out.one(second, at + 1, column + 1);
            }
        }
}
// The same with y transposed: the rows of the product are the columns of y.
template <class S, class Y>
__device__ inline void store_swapped(const Output<Y>& out, float (&sum)[S::WM / 16][S::WN / 8][4], int m,
                                              int n, int rows, int columns) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < S::WM / 16; i++)
#pragma unroll
        for (int j = 0; j < S::WN / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int row = m + i * 16 + e / 2 * 8 + lane / 4, column = n + j * 8 + lane % 4 * 2 + e % 2;
                if (row < rows && column < columns) out.one(sum[i][j][e], column * (long long)out.ld + row, row);
            }
}
