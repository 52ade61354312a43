// Writes new keys and values to the pages of the KV cache. CPU: cpu/kv_store.rs. cuda/kv_store.rs has the layout.
#include "attention.cuh"

namespace {

// The new keys (or values) in an activation, and their pages.
template <class T> struct Vectors {
    void* pages;
    const T* data;
    int ld, stride, dim;
};

// Stores numbers of type P.
template <class P> struct Numbers {
    template <class T>
    static __device__ void store(void* pages, long long head_page, int token, const T* x, int dim) {
        P* to = (P*)pages + (head_page * KEYS + token) * dim;
        for (int d = threadIdx.x; d < dim; d += blockDim.x) to[d] = from_float<P>(to_float(x[d]));
    }
};

// Rounds a number that is not negative to f16, ties to even.
__device__ inline unsigned short float_to_half(float x) {
    if (x >= 65520.0f) return 0x7c00;                                                   // infinity
    if (x < 6.103515625e-5f) return (unsigned short)__float2int_rn(x * 16777216.0f);  // subnormal: multiples of 2^-24
    const unsigned bits = __float_as_uint(x) - (112u << 23);                            // f16's exponent
    return (unsigned short)((bits + 0xfff + (bits >> 13 & 1)) >> 13);
}

// Stores codes of Q8_0: a warp finds the scale of a group, its largest number / 127.
struct Codes {
    template <class T>
    static __device__ void store(void* pages, long long head_page, int token, const T* x, int dim) {
        const int groups = (dim + Q8_GROUP - 1) / Q8_GROUP, lane = threadIdx.x % 32;
        unsigned char* page = (unsigned char*)pages + head_page * KEYS * (dim + 2 * groups);
        signed char* codes = (signed char*)page + token * dim;
        unsigned short* scales = (unsigned short*)(page + KEYS * dim) + token * groups;
        for (int g = threadIdx.x / 32; g < groups; g += blockDim.x / 32) {
            const int d = g * Q8_GROUP + lane;
            const float value = d < dim ? to_float(x[d]) : 0.0f;
            float largest = fabsf(value);
#pragma unroll
            for (int distance = 16; distance > 0; distance /= 2)
                largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, distance));
            const unsigned short bits = float_to_half(__fdiv_rn(largest, 127.0f));
            const float scale = half_to_float(bits), code = __fdiv_rn(value, scale);
            const int rounded = scale == 0.0f ? 0 : __float2int_rn(fminf(fmaxf(code, -127.0f), 127.0f));
            if (d < dim) codes[d] = (signed char)rounded;
            if (lane == 0) scales[g] = bits;
        }
    }
};

// One block for each row and head in x; keys and values in y.
template <class Format, class T>
__device__ void append(const Vectors<T>& keys, const Vectors<T>& values, int heads, const int* row_segments,
                       const int4* segments, const int* pages) {
    const Vectors<T> x = blockIdx.y == 0 ? keys : values;
    const int row = blockIdx.x / heads, head = blockIdx.x % heads;
    const int4 segment = segments[row_segments[row]];  // first row, rows, tokens in the cache, pages
    const int at = segment.z + row - segment.x;
    const long long head_page = (long long)pages[segment.w + at / KEYS] * heads + head;
    Format::store(x.pages, head_page, at % KEYS, x.data + (long long)row * x.ld + (long long)head * x.stride, x.dim);
}

#define PARAMETERS(T)                                                                                          \
    void *key_pages, const T *k, int k_ld, int k_stride, int qk_dim, void *value_pages, const T *v, int v_ld, \
        int v_stride, int v_dim, int heads, const int *row_segments, const int4 *segments, const int *pages
#define APPEND(T, Format)                                                                                          \
    append<Format, T>({key_pages, k, k_ld, k_stride, qk_dim}, {value_pages, v, v_ld, v_stride, v_dim}, heads,      \
                      row_segments, segments, pages)

}  // namespace

KERNEL(128, cache_append_f32_f32)(PARAMETERS(float)) { APPEND(float, Numbers<float>); }
KERNEL(128, cache_append_f32_bf16)(PARAMETERS(float)) { APPEND(float, Numbers<bf16>); }
KERNEL(128, cache_append_f32_q8_0)(PARAMETERS(float)) { APPEND(float, Codes); }
KERNEL(128, cache_append_bf16_f32)(PARAMETERS(bf16)) { APPEND(bf16, Numbers<float>); }
KERNEL(128, cache_append_bf16_bf16)(PARAMETERS(bf16)) { APPEND(bf16, Numbers<bf16>); }
KERNEL(128, cache_append_bf16_q8_0)(PARAMETERS(bf16)) { APPEND(bf16, Codes); }
