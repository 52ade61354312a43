// Quantized matrices in the card's memory, and the values of their elements.
//
// A matrix is cut into tiles of 16 rows and 64 columns; what a tile says is a record. Its codes lie in the order of
// mma.sync's fragments of a 16 x 16 matrix, so that a lane finds its 8 elements of each of four steps of 16 columns in
// adjacent bits: element e of lane i is in row i / 4 + 8 (e / 2 % 2), column 2 (i % 4) + e % 2 + 8 (e / 4). Rows i / 4
// and i / 4 + 8 also have their scales side by side. cuda/blocks/layout.rs and fp8.rs write the records.
#pragma once
#include "device.cuh"

typedef unsigned char byte;

// The value of a finite f16. A float with its exponent field is 2^112 times too small; exact for subnormal numbers too.
__device__ __forceinline__ float half_value(uint32_t bits) {
    return __fmul_rn(__uint_as_float((bits & 0x8000u) << 16 | (bits & 0x7fffu) << 13), 0x1p112f);
}

// code + offset for a code below 2^23: a float of 2^23 and more has an integer in its low bits.
__device__ __forceinline__ float code_value(uint32_t code, float offset) {
    return __fadd_rn(__uint_as_float(code | 0x4b000000u), offset - 0x1p23f);
}

// Code e of eight codes of 4 bits, + offset. No shift but one for e >= 4: the float is 2^(4 e) times too large.
template <int E> __device__ __forceinline__ float nibble_value(uint32_t word, float offset) {
    constexpr int AT = E % 4 * 4;
    constexpr float SCALE = 1.0f / (1 << AT);
    const uint32_t bits = (E < 4 ? word : word >> 16) & 15u << AT;
    return __fmaf_rn(__uint_as_float(bits | 0x4b000000u), SCALE, offset - 0x1p23f * SCALE);
}

// Eight codes of 4 bits, + offset.
__device__ __forceinline__ void nibble_values(float (&v)[8], uint32_t word, float offset) {
    v[0] = nibble_value<0>(word, offset), v[1] = nibble_value<1>(word, offset);
    v[2] = nibble_value<2>(word, offset), v[3] = nibble_value<3>(word, offset);
    v[4] = nibble_value<4>(word, offset), v[5] = nibble_value<5>(word, offset);
    v[6] = nibble_value<6>(word, offset), v[7] = nibble_value<7>(word, offset);
}

// What a lane holds of a record: PLANES x 16 bytes of codes, HIGH bytes of their high bits, and for each of two rows
// 4 bytes of scales of groups, and SUPER / 2 bytes of scales of 256 columns. Those lie in an array of their own.
template <int PLANES, int HIGH, int SUPER> struct Record {
    static constexpr int HIGH_AT = PLANES * 512, GROUPS_AT = HIGH_AT + HIGH * 32;
    static constexpr int BYTES = GROUPS_AT + 64;
    static constexpr int SUPERS = SUPER * 8;  // bytes of the scales of 16 rows and 256 columns
    uint32_t low[PLANES * 4], high[2], groups[2], supers[2];

    __device__ __forceinline__ void load(const byte* record, const byte* super, int lane) {
#pragma unroll
        for (int i = 0; i < PLANES; i++) {
            const uint4 codes = *reinterpret_cast<const uint4*>(record + i * 512 + lane * 16);
            low[i * 4] = codes.x, low[i * 4 + 1] = codes.y, low[i * 4 + 2] = codes.z, low[i * 4 + 3] = codes.w;
        }
        if (HIGH == 4) high[0] = *reinterpret_cast<const uint32_t*>(record + HIGH_AT + lane * 4);
        if (HIGH == 8) {
            const uint2 bits = *reinterpret_cast<const uint2*>(record + HIGH_AT + lane * 8);
            high[0] = bits.x, high[1] = bits.y;
        }
        const uint2 scales = *reinterpret_cast<const uint2*>(record + GROUPS_AT + lane / 4 * 8);
        groups[0] = scales.x, groups[1] = scales.y;
        if (SUPER == 4) supers[0] = *reinterpret_cast<const uint32_t*>(super + lane / 4 * 4);
        if (SUPER == 8) {
            const uint2 scales = *reinterpret_cast<const uint2*>(super + lane / 4 * 8);
            supers[0] = scales.x, supers[1] = scales.y;
        }
    }
    // The scale of this step's 32 columns, for rows i / 4 (half 0) and i / 4 + 8.
    __device__ __forceinline__ float scale(int half, int step) const {
        return half_value(groups[half] >> step / 2 * 16 & 0xffff);
    }
    __device__ __forceinline__ uint32_t group_byte(int half, int index) const {
        return groups[half] >> index * 8 & 255;
    }
};

// The types. values: the elements of a step, as quant/dequant.rs computes them (for Fp8, quant/fp8.rs).

struct Q4_0 : Record<1, 0, 0> {
    __device__ __forceinline__ void values(float (&v)[8], int step) const {
        const float d[2] = {scale(0, step), scale(1, step)};
        nibble_values(v, low[step], -8.0f);
#pragma unroll
        for (int e = 0; e < 8; e++) v[e] = __fmul_rn(d[e / 2 % 2], v[e]);
    }
};

struct Q5_0 : Record<1, 4, 0> {
    __device__ __forceinline__ void values(float (&v)[8], int step) const {
        const float d[2] = {scale(0, step), scale(1, step)};
#pragma unroll
        for (int e = 0; e < 8; e++) {
            const uint32_t fifth = high[0] >> (step * 8 + e) & 1;
            const uint32_t code = (low[step] >> e * 4 & 15) | fifth << 4;
            v[e] = __fmul_rn(d[e / 2 % 2], code_value(code, -16.0f));
        }
    }
};

// Codes are 128 more than the value.
struct Q8_0 : Record<2, 0, 0> {
    __device__ __forceinline__ void values(float (&v)[8], int step) const {
        const float d[2] = {scale(0, step), scale(1, step)};
#pragma unroll
        for (int e = 0; e < 8; e++) {
            const uint32_t code = low[step * 2 + e / 4] >> e % 4 * 8 & 255;
            v[e] = __fmul_rn(d[e / 2 % 2], code_value(code, -128.0f));
        }
    }
};

// s q - m. The product is exact, so that the fused operation rounds as the difference does.
struct Q4_K : Record<1, 0, 8> {
    __device__ __forceinline__ void values(float (&v)[8], int step) const {
        float s[2], m[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int group = step / 2 * 2;
            const float scale = code_value(group_byte(half, group), 0.0f);
            const float minimum = code_value(group_byte(half, group + 1), 0.0f);
            s[half] = __fmul_rn(half_value(supers[half] & 0xffff), scale);
            m[half] = -__fmul_rn(half_value(supers[half] >> 16), minimum);
        }
        nibble_values(v, low[step], 0.0f);
#pragma unroll
        for (int e = 0; e < 8; e++) v[e] = __fmaf_rn(s[e / 2 % 2], v[e], m[e / 2 % 2]);
    }
};

struct Q6_K : Record<1, 8, 4> {
    __device__ __forceinline__ void values(float (&v)[8], int step) const {
        float s[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float scale = code_value(group_byte(half, step) ^ 128, -128.0f);  // a signed byte
            s[half] = __fmul_rn(half_value(supers[0] >> half * 16 & 0xffff), scale);
        }
#pragma unroll
        for (int e = 0; e < 8; e++) {
            const uint32_t high_bits = high[step / 2] >> (step % 2 * 16 + e * 2) & 3;
            const uint32_t code = (low[step] >> e * 4 & 15) | high_bits << 4;
            v[e] = __fmul_rn(s[e / 2 % 2], code_value(code, -32.0f));
        }
    }
};

// e4m3 with one factor. Two codes share 16 bits: the first has the bits that unpack_e4m3 reads, the second the others
// (sign 14, exponent and mantissa 6-0). A word has elements 0 to 3 of a step, or 4 to 7: row i / 4 in the first codes, row
// i / 4 + 8 in the second.
struct Fp8 {
    static constexpr int FACTOR_AT = 1024, BYTES = FACTOR_AT + 16, SUPERS = 0;
    uint32_t codes[8];
    float factor;

    __device__ __forceinline__ void load(const byte* record, const byte*, int lane) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const uint4 words = *reinterpret_cast<const uint4*>(record + i * 512 + lane * 16);
            codes[i * 4] = words.x, codes[i * 4 + 1] = words.y, codes[i * 4 + 2] = words.z, codes[i * 4 + 3] = words.w;
        }
        factor = *reinterpret_cast<const float*>(record + FACTOR_AT);
    }
    __device__ __forceinline__ void values(float (&v)[8], int step) const {
#pragma unroll
        for (int e = 0; e < 8; e += 4) {
            const uint32_t word = codes[step * 2 + e / 4];
            unpack_e4m3(v[e], v[e + 1], word & 0xbf80bf80u);
            unpack_e4m3(v[e + 2], v[e + 3], (word << 1 & 0x80008000u) | (word << 7 & 0x3f803f80u));
        }
#pragma unroll
        for (int e = 0; e < 8; e++) v[e] = __fmul_rn(v[e], factor);
    }
};

// A quantized matrix of n rows: records of tiles, tile after tile along a row; `chunks` of 64 columns.
template <class Q> struct Blocks {
    const byte *records, *supers;
    int n, chunks;

    __device__ __forceinline__ int tiles() const { return (n + 15) / 16; }
    __device__ __forceinline__ const byte* record(int tile, int chunk) const {
        return records + (tile * (long long)chunks + chunk) * Q::BYTES;
    }
    // The scales of 256 columns.
    __device__ __forceinline__ const byte* super(int tile, int chunk) const {
        return supers + (tile * (long long)(chunks / 4) + chunk / 4) * Q::SUPERS;
    }
};

// The four registers of mma.sync's first operand from a lane's elements of a step.
template <class Q> __device__ __forceinline__ void fragment(uint32_t (&a)[4], const Q& lane, int step) {
    float v[8];
    lane.values(v, step);
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] = pack2(v[i * 2], v[i * 2 + 1]);
}

// Calls use(stage) for every chunk of 64 k, in order. load(chunk, stage) starts the block's copies to one of STAGES
// stages, several chunks ahead.
template <int STAGES, class Load, class Use> __device__ __forceinline__ void for_chunks(int chunks, Load load, Use use) {
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; stage++) {
        if (stage < chunks) load(stage, stage);
        cp_async_commit();
    }
    int filled = 0, fill = STAGES - 1;
    for (int chunk = 0; chunk < chunks; chunk++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();  // the stage is filled, and the one before is used
        if (chunk + STAGES - 1 < chunks) load(chunk + STAGES - 1, fill);
        cp_async_commit();
        use(filled);
        filled = filled + 1 == STAGES ? 0 : filled + 1;
        fill = fill + 1 == STAGES ? 0 : fill + 1;
    }
}

// Starts the copies of 64 k of a tile of w by a warp.
template <class Q>
__device__ __forceinline__ void load_record(uint32_t to, const Blocks<Q>& w, int tile, int chunk) {
    const byte *record = w.record(tile, chunk), *super = w.super(tile, chunk);
#pragma unroll
    for (int i = threadIdx.x % 32; i < (Q::BYTES + Q::SUPERS) / 16; i += 32)
        cp_async16(to + i * 16, i < Q::BYTES / 16 ? record + i * 16 : super + (i * 16 - Q::BYTES));
}
