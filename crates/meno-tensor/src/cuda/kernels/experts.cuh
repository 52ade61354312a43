// What the products of experts share: tiles of rows, matrices in two parts, SwiGLU.
#pragma once
#include "device.cuh"

// Rows of one expert: expert, first row, number of rows. The places of a list that are not used, at its end, have none.
struct Tile {
    int expert, first, rows, unused;
};

// A matrix of an expert in two parts, one below the other: rows below `split` lie in `first`, the others in `second`.
// Every row has `cols` values.
template <class W> struct Halves {
    W *first, *second;
    int split, cols;
    __device__ __forceinline__ W* row(int row) const {
        return row < split ? first + row * (long long)cols : second + (row - split) * (long long)cols;
    }
};
template <class W>
__device__ __forceinline__ Halves<W> halves_of(W* const* first, W* const* second, int expert, int split, int cols) {
    return {first[expert], second[expert], split, cols};
}

__device__ __forceinline__ float sigmoid_of(float value) { return __fdiv_rn(1.0f, __fadd_rn(1.0f, expf(-value))); }

// silu(gate) * up.
__device__ __forceinline__ float swiglu_of(float gate, float up) {
    return __fmul_rn(__fmul_rn(sigmoid_of(gate), gate), up);
}
