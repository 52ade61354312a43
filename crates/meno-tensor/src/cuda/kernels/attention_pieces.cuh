// Pieces of a page in shared memory: a few columns of its 64 vectors, as the page stores them. A warp reads only pieces
// that it copied itself, so copies need no barrier of the block.
#pragma once
#include "attention_mma.cuh"

namespace {

// A piece of a page of T: where it is in shared memory, and its first column in vectors of width dim.
//
// copy(): starts to copy the page's first `count` vectors. The others become zero, and so do columns behind dim.
// keys(): 16 vectors from 16 i on and 16 columns from 16 kk on, as right operands for two products of 8 vectors.
// values(): 16 vectors from 16 kk on and 16 columns from 16 n on, as right operands for two products of 8 columns.

// Numbers: a vector has 64 bytes of a piece, two vectors a line of all banks. Chunks of 16 bytes are exchanged so that
// every access below finds its words in different banks.
template <class T> struct Piece {
    static constexpr int COLUMNS = 64 / sizeof(T), BYTES = KEYS * 64;
    unsigned char* data;
    int column, dim;

    static __device__ int at(int row, int chunk) {
        const int line = row / 2;
        return line * 128 + (((row % 2 * 4 + chunk) ^ ((line ^ line << 1) & 7)) << 4);
    }
    // The same `rows` rows further (a multiple of 8) and `chunks` chunks (which are no bits of the chunk).
    static __device__ int moved(int at, int rows, int chunks) {
        return (at ^ rows / 8 % 2 * 64 ^ chunks * 16) + rows * 64;
    }

    __device__ void copy(const T* page, int count) const {
        const int lane = threadIdx.x % 32, row = lane / 4, chunk = lane % 4, from = chunk * 16 / int(sizeof(T));
        const int inside = column + from < dim ? count - row : 0;
        const T* x = page + (row * dim + from) + column;
        const uint32_t to = smem_u32(data);
#pragma unroll
        for (int i = 0; i < KEYS; i += 8)
            cp_async16(to + moved(at(row, chunk), i, 0), x + i * dim, i < inside ? 16 : 0);
    }
    __device__ void keys(uint32_t (&y)[4], int i, int kk) const {
        const int lane = threadIdx.x % 32;
        if constexpr (sizeof(T) == 2) {
            ldsm4(y, smem_u32(data) + moved(at(lane / 16 * 8 + lane % 8, lane / 8 % 2), 16 * i, 2 * kk));
        } else {
            const int pair = at(lane / 4, lane % 4 / 2) + lane % 2 * 8;
#pragma unroll
            for (int q = 0; q < 4; q++) {
                const float2 x = *(const float2*)(data + moved(pair, 16 * i + q / 2 * 8, q % 2 * 2));
                y[q] = pack2(x.x, x.y);
            }
        }
    }
    __device__ void values(uint32_t (&y)[4], int kk, int n) const {
        const int lane = threadIdx.x % 32;
        if constexpr (sizeof(T) == 2) {
            ldsm4t(y, smem_u32(data) + moved(at(lane % 16, lane / 16), 16 * kk, 2 * n));
        } else {
            // The next row is in the same line.
            const int number = at(lane % 4 * 2, lane / 16) + lane / 4 % 4 * 4;
#pragma unroll
            for (int q = 0; q < 4; q++) {
                const int x = moved(number, 16 * kk + q % 2 * 8, q / 2 * 2);
                y[q] = pack2(*(const float*)(data + x), *(const float*)(data + (x ^ 64)));
            }
        }
    }
};

// Codes of Q8_0: 32 bytes a vector, four vectors a line, then a word for each vector with the scale of the piece's
// group of columns and that of a neighbour.
template <> struct Piece<Q8> {
    static constexpr int COLUMNS = Q8_GROUP, BYTES = KEYS * (Q8_GROUP + 4);
    unsigned char* data;
    int column, dim;

    static __device__ int at(int row, int chunk) { return row * 32 + ((chunk ^ row / 4 % 2) << 4); }
    // The same `rows` rows further (a multiple of 8), in the other chunk if `chunks` is 1.
    static __device__ int moved(int at, int rows, int chunks) { return (at ^ chunks * 16) + rows * 32; }
    // The place of a vector's scale in the page.
    __device__ int scale_at(int row) const { return row * ((dim + Q8_GROUP - 1) / Q8_GROUP) + column / Q8_GROUP; }

    __device__ void copy(Q8 page, int count) const {
        const int lane = threadIdx.x % 32, row = lane / 2, chunk = lane % 2;
        const int inside = column + chunk * 16 < dim ? count - row : 0;
        const signed char* x = page.codes + (row * dim + chunk * 16) + column;
        const uint32_t to = smem_u32(data);
#pragma unroll
        for (int i = 0; i < KEYS; i += 16)
            cp_async16(to + moved(at(row, chunk), i, 0), x + i * dim, i < inside ? 16 : 0);
#pragma unroll
        for (int i = lane; i < KEYS; i += 32)
            cp_async4(to + KEYS * Q8_GROUP + 4 * i, page.scales + scale_at(i) / 2 * 2, column < dim ? 4 : 0);
    }
    // The scale of vector row + 2 i.
    __device__ float scale(int row, int i) const {
        const unsigned char* word = data + KEYS * Q8_GROUP + 4 * row;
        return half_to_float(*(const unsigned short*)(word + scale_at(row) % 2 * 2 + 8 * i));
    }
    __device__ void keys(uint32_t (&y)[4], int i, int kk) const {
        const int lane = threadIdx.x % 32, pair = at(lane / 4, 0) + lane % 4 * 2;
#pragma unroll
        for (int q = 0; q < 4; q++) {
            const int more = 16 * i + q / 2 * 8;
            const unsigned codes = *(const unsigned short*)(data + moved(pair, more, kk) + q % 2 * 8);
            const float s = scale(lane / 4, more / 2);
            y[q] = pack2(__fmul_rn(float((signed char)codes), s), __fmul_rn(float((signed char)(codes >> 8)), s));
        }
    }
    __device__ void values(uint32_t (&y)[4], int kk, int n) const {
        // The next row is in the same line.
        const int lane = threadIdx.x % 32, row = lane % 4 * 2, code = at(row, 0) + lane / 4;
#pragma unroll
        for (int q = 0; q < 4; q++) {
            const int more = 16 * kk + q % 2 * 8;
            const signed char* x = (const signed char*)data + moved(code, more, n) + q / 2 * 8;
            y[q] = pack2(__fmul_rn(float(x[0]), scale(row, more / 2)),
                         __fmul_rn(float(x[32]), scale(row + 1, more / 2)));
        }
    }
};

// The pieces that a warp reads, in order: `PIECES` of every step-th page. The next DEPTH are on their way.
template <class T, int PIECES, int DEPTH> struct Ring {
    static constexpr int BYTES = DEPTH * Piece<T>::BYTES;
    Pages<T> pages;
    unsigned char* slots;
    int column, end, step;  // the first column; keys that the tile sees
    int block, page;        // to copy next: the block of keys, its page
    int slot;               // to read next, then to fill

    // Starts to copy the first pieces, from page `block` on.
    __device__ void start() {
        page = pages.pages[block * KEYS < end ? block : 0];
        slot = 0;
#pragma unroll
        for (int i = 0; i < DEPTH; i++) fill(i % PIECES);
    }
    // Piece i of a page, in the slot.
    __device__ Piece<T> at(int i) const {
        return {slots + slot * Piece<T>::BYTES, column + i * Piece<T>::COLUMNS, pages.dim};
    }
    // Starts to copy piece i. The number of the next page is read long before it is used.
    __device__ void fill(int i) {
        at(i).copy(pages.page(page), end - block * KEYS);
        cp_async_commit();
        slot = slot + 1 == DEPTH ? 0 : slot + 1;
        if (i == PIECES - 1) {
            block += step;
            page = pages.pages[block * KEYS < end ? block : 0];
        }
    }
    // Waits for piece i, the next one.
    __device__ Piece<T> wait(int i) const {
        cp_async_wait<DEPTH - 1>();
        __syncwarp();
        return at(i);
    }
    // Piece i is read: copies the one DEPTH pieces later to its slot.
    __device__ void release(int i) {
        __syncwarp();
        fill((i + DEPTH) % PIECES);
    }
};

}  // namespace
