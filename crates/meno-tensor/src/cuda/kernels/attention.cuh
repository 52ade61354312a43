// What the kernels of attention share: tiles of rows, and keys and values in an activation or in pages of the cache.
//
// The query heads that share a key head form a group. The rows of a key head are the pairs (query, head of the group),
// queries first, so that a tile of rows is full whatever the number of queries and heads, and each key is read once for
// the whole group. All orders count from the start of the segment, so a result does not depend on other segments.
#pragma once
#include "device.cuh"

namespace {

// Keys of a softmax block, and tokens of a page.
constexpr int KEYS = 64;
// Numbers that share a scale in Q8_0.
constexpr int Q8_GROUP = 32;
constexpr float LOG2_E = 1.44269504088896340736f, LN_2 = 0.69314718055994530942f;

// ---- tiles

// A tile of the rows of a segment.
struct Tile {
    int first, queries, past, pages;  // the segment: first row and rows of the batch, tokens in the cache, first page
    int start;                        // the first row of the tile, of queries * group
};

// Returns tile `index` of all segments, in tiles of `size` of the segments' `group` rows a query. Segment s owns the
// tiles from first * group / size + s, which is at least as many as it needs: the tile may be empty (start is beyond).
__device__ inline Tile find_tile(int index, const int4* segments, int count, int group, int size) {
    const int lane = threadIdx.x % 32;
    auto base = [&](int s) { return int((long long)segments[s].x * group / size) + s; };
    int low = 0, high = count;  // the segment is in low..high
    while (high - low > 1) {
        const int step = (high - low + 31) / 32, probe = low + lane * step;
        const unsigned before = __ballot_sync(~0u, probe < high && base(probe) <= index);
        low += (__popc(before) - 1) * step;
        high = min(high, low + step);
    }
    const int4 s = segments[low];
    return {s.x, s.y, s.z, s.w, (index - base(low)) * size};
}

// ---- where vectors are

// A vector of a Q8_0 page.
struct Q8 {
    const signed char* codes;
    const unsigned short* scales;  // f16
};

__device__ inline float half_to_float(unsigned short bits) {
    // The exponents of f16 and f32 differ by 112; the product is exact, for subnormal numbers too.
    return __fmul_rn(__uint_as_float((bits & 0x7fffu) << 13), __uint_as_float((127u + 112u) << 23));
}

__device__ inline float load(const float* x, int d) { return x[d]; }
__device__ inline float load(const bf16* x, int d) { return to_float(x[d]); }
__device__ inline float load(Q8 x, int d) {
    return __fmul_rn(float(x.codes[d]), half_to_float(x.scales[d / Q8_GROUP]));
}

// The vectors of one head of a segment, in an activation (rows ld apart) or in a cache of `heads` heads of width dim.
struct Place {
    const void* base;
    int ld, stride, heads, head, dim;
    long long first;   // the first row of the segment
    const int* pages;  // of the segment
};

// Vectors in an activation.
template <class T> struct Rows {
    const T* data;
    int ld;
    __device__ explicit Rows(const Place& p)
        : data((const T*)p.base + p.first * p.ld + (long long)p.head * p.stride), ld(p.ld) {}
    __device__ const T* row(int i) const { return data + (long long)i * ld; }
};

// Vectors of all heads of a group in an activation, in the order of a tile's rows.
template <class T> struct GroupRows {
    const T* data;
    int ld, stride, group;
    __device__ GroupRows(const T* base, long long first, int ld, int stride, int kv_head, int group)
        : data(base + first * ld + (long long)kv_head * group * stride), ld(ld), stride(stride), group(group) {}
    __device__ const T* row(int i) const {
        return data + (long long)(i / group) * ld + (long long)(i % group) * stride;
    }
};

// Vectors in pages.
template <class T> struct Pages {
    const T* data;
    const int* pages;
    int heads, head, dim;
    __device__ explicit Pages(const Place& p)
        : data((const T*)p.base), pages(p.pages), heads(p.heads), head(p.head), dim(p.dim) {}
    // The vectors of page `number`.
    __device__ const T* page(int number) const { return data + ((long long)number * heads + head) * KEYS * dim; }
    __device__ const T* row(int i) const { return page(pages[i / KEYS]) + i % KEYS * dim; }
};
template <> struct Pages<Q8> {
    const unsigned char* data;
    const int* pages;
    int heads, head, dim;
    __device__ explicit Pages(const Place& p)
        : data((const unsigned char*)p.base), pages(p.pages), heads(p.heads), head(p.head), dim(p.dim) {}
    __device__ int groups() const { return (dim + Q8_GROUP - 1) / Q8_GROUP; }
    __device__ Q8 page(int number) const {
        const unsigned char* page = data + ((long long)number * heads + head) * KEYS * (dim + 2 * groups());
        return {(const signed char*)page, (const unsigned short*)(page + KEYS * dim)};
    }
    __device__ Q8 row(int i) const {
        const Q8 all = page(pages[i / KEYS]);
        return {all.codes + i % KEYS * dim, all.scales + i % KEYS * groups()};
    }
};

// ---- parameters

// q, k and v: activations, or the cache's keys and values (then ld and stride of k and v are not used). factor is
// scale * log2(e). tiles: segments and their number.
#define ATTENTION_INPUTS(T)                                                                                          \
    const T *q, int q_ld, int q_stride, const void *k, int k_ld, int k_stride, const void *v, int v_ld, int v_stride, \
        int heads, int kv_heads, int qk_dim, int v_dim, float factor, const int4 *segments, int segment_count,       \
        const int *pages

// The inputs of attention.
template <class T> struct Inputs {
    const T* q;
    int q_ld, q_stride;
    const void* k;
    int k_ld, k_stride;
    const void* v;
    int v_ld, v_stride, heads, kv_heads, qk_dim, v_dim;
    float factor;
    const int4* segments;
    int segment_count;
    const int* pages;

    __device__ int group() const { return heads / kv_heads; }
    __device__ Place keys(const Tile& tile, int head) const {
        return {k, k_ld, k_stride, kv_heads, head, qk_dim, tile.first, pages + tile.pages};
    }
    __device__ Place values(const Tile& tile, int head) const {
        return {v, v_ld, v_stride, kv_heads, head, v_dim, tile.first, pages + tile.pages};
    }
    __device__ GroupRows<T> queries(const Tile& tile, int head) const {
        return {q, tile.first, q_ld, q_stride, head, group()};
    }
};
#define ATTENTION_ARGUMENTS                                                                                       \
    {q, q_ld, q_stride, k, k_ld, k_stride, v, v_ld, v_stride, heads, kv_heads, qk_dim, v_dim, factor, segments, \
     segment_count, pages}

// The gradient of o, the saved log-sum-exp and o·do, and the gradient to write (or to add to): of q, k or v, rows ld
// apart and heads stride apart. factor is multiplied with scale in the gradients of q and k.
#define ATTENTION_GRADIENTS(T)                                                                                    \
    T *to, int to_ld, int to_stride, int add, const T *dout, const float *lse, const float *delta, float scale

// The gradients of attention.
template <class T> struct Gradients {
    T* to;
    int to_ld, to_stride, add;
    const T* dout;
    const float *lse, *delta;
    float scale;

    // Writes or adds one number of a head of a row.
    __device__ void give(long long row, int head, int column, float value) const {
        T* at = to + row * to_ld + (long long)head * to_stride + column;
        *at = from_float<T>(add ? __fadd_rn(to_float(*at), value) : value);
    }
};
#define ATTENTION_GRADIENT_ARGUMENTS {to, to_ld, to_stride, add, dout, lse, delta, scale}

// Which gradient a kernel computes.
enum Gradient { DQ, DK, DV };

}  // namespace
