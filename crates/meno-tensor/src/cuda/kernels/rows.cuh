// Rows in pieces of four elements, and sums over warps and blocks in fixed orders.
#pragma once
#include "device.cuh"

constexpr unsigned ALL_LANES = ~0u;

// The elements j .. j + 3 of a row, zeros from `cols` on. `vector`: the four are in the row and aligned.
__device__ __forceinline__ float4 load4(const float* row, int j, int cols, bool vector) {
    if (vector) return *reinterpret_cast<const float4*>(row + j);
    return make_float4(j < cols ? row[j] : 0.0f, j + 1 < cols ? row[j + 1] : 0.0f, j + 2 < cols ? row[j + 2] : 0.0f,
                       j + 3 < cols ? row[j + 3] : 0.0f);
}
__device__ __forceinline__ float4 load4(const bf16* row, int j, int cols, bool vector) {
    if (vector) {
        const uint2 pairs = *reinterpret_cast<const uint2*>(row + j);
        return make_float4(unpack_low(pairs.x), unpack_high(pairs.x), unpack_low(pairs.y), unpack_high(pairs.y));
    }
    return make_float4(j < cols ? to_float(row[j]) : 0.0f, j + 1 < cols ? to_float(row[j + 1]) : 0.0f,
                       j + 2 < cols ? to_float(row[j + 2]) : 0.0f, j + 3 < cols ? to_float(row[j + 3]) : 0.0f);
}

// Writes the elements j .. j + 3 of a row that are before `cols`.
__device__ __forceinline__ void store4(float* row, int j, int cols, bool vector, float4 value) {
    if (vector) {
        *reinterpret_cast<float4*>(row + j) = value;
        return;
    }
    if (j < cols) row[j] = value.x;
    if (j + 1 < cols) row[j + 1] = value.y;
    if (j + 2 < cols) row[j + 2] = value.z;
    if (j + 3 < cols) row[j + 3] = value.w;
}
__device__ __forceinline__ void store4(bf16* row, int j, int cols, bool vector, float4 value) {
    if (vector) {
        *reinterpret_cast<uint2*>(row + j) = make_uint2(pack2(value.x, value.y), pack2(value.z, value.w));
        return;
    }
    if (j < cols) row[j] = from_float<bf16>(value.x);
    if (j + 1 < cols) row[j + 1] = from_float<bf16>(value.y);
    if (j + 2 < cols) row[j + 2] = from_float<bf16>(value.z);
    if (j + 3 < cols) row[j + 3] = from_float<bf16>(value.w);
}

__device__ __forceinline__ float4 add4(float4 a, float4 b) {
    return make_float4(__fadd_rn(a.x, b.x), __fadd_rn(a.y, b.y), __fadd_rn(a.z, b.z), __fadd_rn(a.w, b.w));
}

// The sum of the warp's values, with the same bits in every lane.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        value = __fadd_rn(value, __shfl_xor_sync(ALL_LANES, value, distance));
    return value;
}
__device__ __forceinline__ double warp_sum(double value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        value = __dadd_rn(value, __shfl_xor_sync(ALL_LANES, value, distance));
    return value;
}
