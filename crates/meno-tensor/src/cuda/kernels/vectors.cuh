// Loads and stores of one or eight neighbouring values as f32. Eight values need rows of a multiple of eight columns.
#pragma once
#include "device.cuh"

template <int N> __device__ __forceinline__ void load_values(float (&to)[N], const float* from) {
    static_assert(N == 1 || N == 8, "one or eight values");
    if (N == 1) {
        to[0] = from[0];
        return;
    }
    const float4 low = reinterpret_cast<const float4*>(from)[0], high = reinterpret_cast<const float4*>(from)[1];
    const float all[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
    for (int i = 0; i < N; i++) to[i] = all[i];
}
template <int N> __device__ __forceinline__ void load_values(float (&to)[N], const bf16* from) {
    static_assert(N == 1 || N == 8, "one or eight values");
    if (N == 1) {
        to[0] = to_float(from[0]);
        return;
    }
    const uint4 pairs = *reinterpret_cast<const uint4*>(from);
    const uint32_t all[4] = {pairs.x, pairs.y, pairs.z, pairs.w};
#pragma unroll
    for (int i = 0; i < N; i++) to[i] = i % 2 ? unpack_high(all[i / 2]) : unpack_low(all[i / 2]);
}

template <int N> __device__ __forceinline__ void store_values(float* to, const float (&from)[N]) {
    if (N == 1) {
        to[0] = from[0];
        return;
    }
    reinterpret_cast<float4*>(to)[0] = make_float4(from[0], from[1 % N], from[2 % N], from[3 % N]);
    reinterpret_cast<float4*>(to)[1] = make_float4(from[4 % N], from[5 % N], from[6 % N], from[7 % N]);
}
template <int N> __device__ __forceinline__ void store_values(bf16* to, const float (&from)[N]) {
    if (N == 1) {
        to[0] = from_float<bf16>(from[0]);
        return;
    }
    *reinterpret_cast<uint4*>(to) = make_uint4(pack2(from[0], from[1 % N]), pack2(from[2 % N], from[3 % N]),
                                               pack2(from[4 % N], from[5 % N]), pack2(from[6 % N], from[7 % N]));
}
