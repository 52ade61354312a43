// Multi-head latent attention: keys from two parts, and products with W_kvb for absorbed attention. CPU:
// cpu/ops/mla.rs.
#include "device.cuh"

namespace {

// k[row][h] = [nope[row][h] ; k_pe[row]]: one thread per number of k.
template <class T>
__device__ void mla_keys(T* k, const T* nope, int nope_ld, int nope_stride, const T* k_pe, int pe_ld, int heads,
                         int nope_dim, int rope_dim, long long count) {
    const long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (at >= count) return;
    const int width = nope_dim + rope_dim, column = int(at % (heads * width)), i = column % width;
    const long long row = at / (heads * width);
    k[at] = i < nope_dim ? nope[row * nope_ld + (long long)(column / width) * nope_stride + i]
                         : k_pe[row * pe_ld + i - nope_dim];
}

template <class T> __device__ void give(T* to, float value, int add) {
    *to = from_float<T>(add ? __fadd_rn(to_float(*to), value) : value);
}

// One thread per number of dnope and of dk_pe; that of dk_pe is a sum over heads, ascending.
template <class T>
__device__ void mla_keys_backward(T* dnope, int nope_ld, int nope_stride, int nope_add, T* dk_pe, int pe_ld,
                                  int pe_add, const T* dk, int heads, int nope_dim, int rope_dim, long long count) {
    const long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (at >= count) return;
    const int width = nope_dim + rope_dim, all = heads * nope_dim + rope_dim, column = int(at % all);
    const long long row = at / all;
    const T* d = dk + row * heads * width;
    if (column < heads * nope_dim) {
        const int head = column / nope_dim, i = column % nope_dim;
        give(dnope + row * nope_ld + (long long)head * nope_stride + i, to_float(d[head * width + i]), nope_add);
        return;
    }
    const int i = column - heads * nope_dim;
    float sum = 0.0f;
    for (int head = 0; head < heads; head++) sum = __fadd_rn(sum, to_float(d[head * width + nope_dim + i]));
    give(dk_pe + row * pe_ld + i, sum, pe_add);
}

// Rows of a block of the products below, and the columns of a weight's tile.
constexpr int ROWS = 8, TILE = 32;

// y[row][h] = [W_UK,h^T q_nope[row][h] ; q_pe[row][h]], a chain over the columns of q_nope. A block has ROWS rows in y
// and a head's columns in x: one thread per column.
template <class T, class W>
__device__ void absorb_query(T* y, const T* q, int q_ld, int q_stride, const W* weight, int rows, int heads,
                             int nope_dim, int rope_dim, int v_dim, int latent) {
    const int blocks = gridDim.x / heads, head = blockIdx.x / blocks, width = latent + rope_dim;
    const int column = blockIdx.x % blocks * blockDim.x + threadIdx.x, first = blockIdx.y * ROWS;
    if (column >= width) return;
    const T* x = q + (long long)first * q_ld + (long long)head * q_stride;
    T* to = y + ((long long)first * heads + head) * width + column;
    const int count = min(ROWS, rows - first);
    if (column >= latent) {
        x += nope_dim + column - latent;
        for (int r = 0; r < count; r++) to[(long long)r * heads * width] = x[(long long)r * q_ld];
        return;
    }
    const W* w = weight + (long long)head * (nope_dim + v_dim) * latent + column;
    float sum[ROWS] = {};
    for (int i = 0; i < nope_dim; i++) {
        const float factor = to_float(w[(long long)i * latent]);
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if (r < count) sum[r] = __fmaf_rn(to_float(x[(long long)r * q_ld + i]), factor, sum[r]);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        if (r < count) to[(long long)r * heads * width] = from_float<T>(sum[r]);
}

// y[row][h] = W_UV,h x[row][h], a chain over the columns of x. A block has ROWS rows in y, one a warp, and 32 columns
// of a head in x, one a lane; the weight's rows pass through shared memory.
template <class T, class W>
__device__ void absorb_output(T* y, const T* x, const W* weight, int rows, int heads, int nope_dim, int v_dim,
                              int latent) {
    SHARED_MEMORY(shared);
    float* tile = (float*)shared;  // [TILE][TILE + 1]: rows start at different banks
    const int blocks = (v_dim + TILE - 1) / TILE, head = blockIdx.x / blocks, column = blockIdx.x % blocks * TILE;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = blockIdx.y * ROWS + warp;
    const W* w = weight + ((long long)head * (nope_dim + v_dim) + nope_dim + column) * latent;
    const T* from = x + ((long long)min(row, rows - 1) * heads + head) * latent;
    float sum = 0.0f;
    for (int start = 0; start < latent; start += TILE) {
        for (int j = warp; j < TILE; j += ROWS) {
            const bool inside = column + j < v_dim && start + lane < latent;
            tile[j * (TILE + 1) + lane] = inside ? to_float(w[(long long)j * latent + start + lane]) : 0.0f;
        }
        __syncthreads();
        const float mine = start + lane < latent ? to_float(from[start + lane]) : 0.0f;
        const int end = min(TILE, latent - start);
        for (int l = 0; l < end; l++) sum = __fmaf_rn(__shfl_sync(~0u, mine, l), tile[lane * (TILE + 1) + l], sum);
        __syncthreads();
    }
    if (row < rows && column + lane < v_dim)
        y[((long long)row * heads + head) * v_dim + column + lane] = from_float<T>(sum);
}

#define KEYS_PARAMETERS(T)                                                                              \
    T *k, const T *nope, int nope_ld, int nope_stride, const T *k_pe, int pe_ld, int heads, int nope_dim, \
        int rope_dim, long long count
#define KEYS_ARGUMENTS k, nope, nope_ld, nope_stride, k_pe, pe_ld, heads, nope_dim, rope_dim, count
#define BACKWARD_PARAMETERS(T)                                                                             \
    T *dnope, int nope_ld, int nope_stride, int nope_add, T *dk_pe, int pe_ld, int pe_add, const T *dk, int heads, \
        int nope_dim, int rope_dim, long long count
#define BACKWARD_ARGUMENTS \
    dnope, nope_ld, nope_stride, nope_add, dk_pe, pe_ld, pe_add, dk, heads, nope_dim, rope_dim, count
#define QUERY_PARAMETERS(T, W)                                                                                  \
    T *y, const T *q, int q_ld, int q_stride, const W *weight, int rows, int heads, int nope_dim, int rope_dim, \
        int v_dim, int latent
#define QUERY_ARGUMENTS y, q, q_ld, q_stride, weight, rows, heads, nope_dim, rope_dim, v_dim, latent
#define OUTPUT_PARAMETERS(T, W) \
    T *y, const T *x, const W *weight, int rows, int heads, int nope_dim, int v_dim, int latent
#define OUTPUT_ARGUMENTS y, x, weight, rows, heads, nope_dim, v_dim, latent

}  // namespace

KERNEL(256, mla_keys_f32)(KEYS_PARAMETERS(float)) { mla_keys(KEYS_ARGUMENTS); }
KERNEL(256, mla_keys_bf16)(KEYS_PARAMETERS(bf16)) { mla_keys(KEYS_ARGUMENTS); }
KERNEL(256, mla_keys_backward_f32)(BACKWARD_PARAMETERS(float)) { mla_keys_backward(BACKWARD_ARGUMENTS); }
KERNEL(256, mla_keys_backward_bf16)(BACKWARD_PARAMETERS(bf16)) { mla_keys_backward(BACKWARD_ARGUMENTS); }
// Activations, then the weight.
KERNEL(128, absorb_query_f32_f32)(QUERY_PARAMETERS(float, float)) { absorb_query(QUERY_ARGUMENTS); }
KERNEL(128, absorb_query_f32_bf16)(QUERY_PARAMETERS(float, bf16)) { absorb_query(QUERY_ARGUMENTS); }
KERNEL(128, absorb_query_bf16_bf16)(QUERY_PARAMETERS(bf16, bf16)) { absorb_query(QUERY_ARGUMENTS); }
KERNEL(256, absorb_output_f32_f32)(OUTPUT_PARAMETERS(float, float)) { absorb_output(OUTPUT_ARGUMENTS); }
KERNEL(256, absorb_output_f32_bf16)(OUTPUT_PARAMETERS(float, bf16)) { absorb_output(OUTPUT_ARGUMENTS); }
KERNEL(256, absorb_output_bf16_bf16)(OUTPUT_PARAMETERS(bf16, bf16)) { absorb_output(OUTPUT_ARGUMENTS); }
