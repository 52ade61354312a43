// The two products of attention on tensor cores, for a warp: tiles of bf16 in shared memory, f32 sums in registers.
//
// A row of a tile has D columns, in chunks of 16 bytes that are exchanged so that eight rows of a chunk lie in
// different banks. Products beyond the head's width (a multiple of 16) are left out.
#pragma once
#include "attention.cuh"

namespace {

// Rows of a tile: 16 for each of four warps.
constexpr int TILE = 64;

// The address of a chunk of a row.
template <int D> __device__ inline uint32_t chunk_at(uint32_t tile, int row, int chunk) {
    return tile + row * 2 * D + ((chunk ^ (row & 7)) << 4);
}

// Eight numbers from number d, as bf16.
template <class Row> __device__ inline uint4 load8(Row x, int d) {
    return make_uint4(pack2(load(x, d), load(x, d + 1)), pack2(load(x, d + 2), load(x, d + 3)),
                      pack2(load(x, d + 4), load(x, d + 5)), pack2(load(x, d + 6), load(x, d + 7)));
}
// Pages of f32: a vector starts at a multiple of 64 bytes.
__device__ inline uint4 load8(const float* x, int d) {
    const float4 a = *(const float4*)(x + d), b = *(const float4*)(x + d + 4);
    return make_uint4(pack2(a.x, a.y), pack2(a.z, a.w), pack2(b.x, b.y), pack2(b.z, b.w));
}
// Copies eight numbers to shared memory, or zeros.
template <class Row>
__device__ inline void put8(unsigned char* shared, uint32_t to, Row x, int d, bool inside, int) {
    *(uint4*)(shared + to) = inside ? load8(x, d) : make_uint4(0, 0, 0, 0);
}
__device__ inline void put8(unsigned char* shared, uint32_t to, const bf16* x, int d, bool inside, int aligned) {
    if (aligned)
        cp_async16(smem_u32(shared) + to, x + d, inside ? 16 : 0);
    else
        *(uint4*)(shared + to) = inside ? load8(x, d) : make_uint4(0, 0, 0, 0);
}

// Starts to copy `COUNT` vectors from number `first` to a tile; zeros beyond `end`. `aligned`: vectors of bf16 start at
// multiples of 16 bytes.
template <int COUNT, int D, class Stream>
__device__ void load_tile(unsigned char* shared, uint32_t tile, const Stream& stream, int first, int end, int dim,
                          int aligned) {
#pragma unroll 4
    for (int i = threadIdx.x; i < COUNT * (D / 8); i += 128) {
        const int row = i / (D / 8), chunk = i % (D / 8);
        if (chunk * 8 >= dim) continue;
        const bool inside = first + row < end;
        const auto x = stream.row(inside ? first + row : first);
        put8(shared, chunk_at<D>(tile, row, chunk), x, chunk * 8, inside, aligned);
    }
}

// a = 16 rows from `row` and 16 columns from 16 kk of a tile, the left operand of a product.
template <int D> __device__ inline void left(uint32_t (&a)[4], uint32_t tile, int row, int kk) {
    const int lane = threadIdx.x % 32;
    ldsm4(a, chunk_at<D>(tile, row + lane % 16, 2 * kk + lane / 16));
}

// Number [i][e] of a result is row lane / 4 + 8 (e / 2), column 8 i + 2 (lane % 4) + e % 2.

// s = rows from `row` of `a` times all rows of `b`, a chain over columns. HELD: `held` has the left operands.
template <int D, int BLOCK, bool HELD>
__device__ inline void times_rows(float (&s)[BLOCK / 8][4], const uint32_t (&held)[HELD ? D / 16 : 1][4], uint32_t a,
                                  int row, uint32_t b, int dim) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < BLOCK / 8; i++) s[i][0] = s[i][1] = s[i][2] = s[i][3] = 0.0f;
#pragma unroll
    for (int kk = 0; kk < D / 16; kk++) {
        if (16 * kk >= dim) break;
        uint32_t x[4];
        if (HELD)
            x[0] = held[HELD ? kk : 0][0], x[1] = held[HELD ? kk : 0][1], x[2] = held[HELD ? kk : 0][2],
            x[3] = held[HELD ? kk : 0][3];
        else
            left<D>(x, a, row, kk);
#pragma unroll
        for (int i = 0; i < BLOCK / 16; i++) {
            uint32_t y[4];
            ldsm4(y, chunk_at<D>(b, 16 * i + lane / 16 * 8 + lane % 8, 2 * kk + lane / 8 % 2));
            mma16816(s[2 * i], x[0], x[1], x[2], x[3], y[0], y[1]);
            mma16816(s[2 * i + 1], x[0], x[1], x[2], x[3], y[2], y[3]);
        }
    }
}

// Rounds weights to bf16, as left operands.
template <int BLOCK>
__device__ inline void round_weights(uint32_t (&w)[BLOCK / 16][4], const float (&s)[BLOCK / 8][4]) {
#pragma unroll
    for (int kk = 0; kk < BLOCK / 16; kk++)
#pragma unroll
        for (int x = 0; x < 4; x++) w[kk][x] = pack2(s[2 * kk + x / 2][x % 2 * 2], s[2 * kk + x / 2][x % 2 * 2 + 1]);
}

// sum += weights times rows of `b`, a chain over its rows.
template <int D, int BLOCK>
__device__ inline void add_times(float (&sum)[D / 8][4], const uint32_t (&w)[BLOCK / 16][4], uint32_t b, int dim) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int kk = 0; kk < BLOCK / 16; kk++)
#pragma unroll
        for (int n = 0; n < D / 8; n += 2) {
            if (8 * n >= dim) break;
            uint32_t y[4];
            ldsm4t(y, chunk_at<D>(b, 16 * kk + lane % 16, n + lane / 16));
            mma16816(sum[n], w[kk][0], w[kk][1], w[kk][2], w[kk][3], y[0], y[1]);
            mma16816(sum[n + 1], w[kk][0], w[kk][1], w[kk][2], w[kk][3], y[2], y[3]);
        }
}

}  // namespace
