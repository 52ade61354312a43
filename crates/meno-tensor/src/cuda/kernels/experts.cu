// The experts of a mixture: plain products of the rows of each expert, for all types and sizes, and SwiGLU of rows.
// CPU: cpu/ops/experts.rs. experts_mma.cu and experts_sm90a.cu have the products for tensor cores.
#include "device.cuh"
#include "experts.cuh"
#include "vectors.cuh"

// Splits the rows of all experts into tiles of up to `tile_rows` rows of one expert: tiles[most], the unused ones
// without rows. One block. Shared memory: an int per expert.
KERNEL(256, experts_tiles)(Tile* tiles, const int* offsets, int experts, int most, int tile_rows) {
    SHARED_MEMORY(shared);
    int* ends = reinterpret_cast<int*>(shared);  // the number of tiles of an expert and those before it
    const int lane = threadIdx.x % 32;
    if (threadIdx.x < 32) {
        int before = 0;
        for (int e = lane; e - lane < experts; e += 32) {
            int sum = e < experts ? (offsets[e + 1] - offsets[e] + tile_rows - 1) / tile_rows : 0;
#pragma unroll
            for (int distance = 1; distance < 32; distance *= 2) {
                const int other = __shfl_up_sync(~0u, sum, distance);
                if (lane >= distance) sum += other;
            }
            if (e < experts) ends[e] = before + sum;
            before += __shfl_sync(~0u, sum, 31);
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < most; i += blockDim.x) {
        if (i >= ends[experts - 1]) {
            tiles[i] = {0, 0, 0, 0};
            continue;
        }
        int low = 0, high = experts - 1;  // the first expert whose tiles end after i
        while (low < high) {
            const int middle = (low + high) / 2;
            if (ends[middle] > i)
                high = middle;
            else
                low = middle + 1;
        }
        const int within = i - (low > 0 ? ends[low - 1] : 0), first = offsets[low] + within * tile_rows;
        const int left = offsets[low + 1] - first;
        tiles[i] = {low, first, left < tile_rows ? left : tile_rows, 0};
    }
}

// ---- plain products: 64 x 64 results of 256 threads, each a chain over k in ascending order

constexpr int SIDE = 64, DEPTH = 16;

// sum[i][j] += a(row + i, l) * b(l, col + j) over l < k, for this thread's 4 x 4 results. `rows` rows have results. The
// loads are coalesced if neighbouring l (A_BY_DEPTH) or neighbouring rows (columns) are neighbours in memory.
template <bool A_BY_DEPTH, bool B_BY_DEPTH, class A, class B>
__device__ __forceinline__ void add_product(float (&sum)[4][4], int rows, int k, A a, B b) {
    __shared__ __align__(16) float a_tile[DEPTH][SIDE + 4], b_tile[DEPTH][SIDE + 4];
    const int row = threadIdx.x / 16 * 4, col = threadIdx.x % 16 * 4;
    for (int k0 = 0; k0 < k; k0 += DEPTH) {
#pragma unroll
        for (int at = threadIdx.x; at < SIDE * DEPTH; at += 256) {
            const int by_depth[2] = {at / DEPTH, at % DEPTH}, by_side[2] = {at % SIDE, at / SIDE};
            const int ai = A_BY_DEPTH ? by_depth[0] : by_side[0], al = A_BY_DEPTH ? by_depth[1] : by_side[1];
            const int bj = B_BY_DEPTH ? by_depth[0] : by_side[0], bl = B_BY_DEPTH ? by_depth[1] : by_side[1];
            a_tile[al][ai] = k0 + al < k ? a(ai, k0 + al) : 0.0f;
            b_tile[bl][bj] = k0 + bl < k ? b(k0 + bl, bj) : 0.0f;
        }
        __syncthreads();
        if (row < rows) {
#pragma unroll
            for (int l = 0; l < DEPTH; l++) {
                const float4 x = *reinterpret_cast<const float4*>(&a_tile[l][row]);
                const float4 w = *reinterpret_cast<const float4*>(&b_tile[l][col]);
                const float xs[4] = {x.x, x.y, x.z, x.w}, ws[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int j = 0; j < 4; j++) sum[i][j] = __fmaf_rn(xs[i], ws[j], sum[i][j]);
            }
        }
        __syncthreads();
    }
}

// Calls store(i, j, sum) for the results of this thread within `rows` x `cols`.
template <class Store>
__device__ __forceinline__ void for_results(const float (&sum)[4][4], int rows, int cols, Store store) {
    const int row = threadIdx.x / 16 * 4, col = threadIdx.x % 16 * 4;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (row + i < rows && col + j < cols) store(row + i, col + j, sum[i][j]);
}

// y[row][j] = x[row][..] . w[j][..] for the rows of each expert and its matrix w [n][k]. Grid: columns, tiles.
template <class X, class W>
__device__ void forward(X* y, const X* x, const W* const* first, const W* const* second, const Tile* tiles, int n,
                        int k, int split) {
    const Tile tile = tiles[blockIdx.y];
    if (tile.rows == 0) return;
    const auto w = halves_of(first, second, tile.expert, split, k);
    const int n0 = blockIdx.x * SIDE;
    float sum[4][4] = {};
    x += tile.first * (long long)k;
    add_product<true, true>(
        sum, tile.rows, k, [&](int i, int l) { return i < tile.rows ? to_float(x[i * (long long)k + l]) : 0.0f; },
        [&](int l, int j) { return n0 + j < n ? to_float(w.row(n0 + j)[l]) : 0.0f; });
    y += tile.first * (long long)n + n0;
    for_results(sum, tile.rows, n - n0,
                [&](int i, int j, float value) { y[i * (long long)n + j] = from_float<X>(value); });
}
KERNEL(256, experts_forward_f32_f32)
(float* y, const float* x, const float* const* first, const float* const* second, const Tile* tiles, int n, int k,
 int split) {
    forward(y, x, first, second, tiles, n, k, split);
}
KERNEL(256, experts_forward_f32_bf16)
(float* y, const float* x, const bf16* const* first, const bf16* const* second, const Tile* tiles, int n, int k,
 int split) {
    forward(y, x, first, second, tiles, n, k, split);
}
KERNEL(256, experts_forward_bf16_bf16)
(bf16* y, const bf16* x, const bf16* const* first, const bf16* const* second, const Tile* tiles, int n, int k,
 int split) {
    forward(y, x, first, second, tiles, n, k, split);
}

// dx[row][j] = the sum over l of dy[row][l] * w[l][j] for the rows of each expert and its matrix w [k][n]. Grid:
// columns, tiles.
template <class X>
__device__ void input_gradient(X* dx, const X* dy, const X* const* first, const X* const* second, const Tile* tiles,
                               int n, int k, int split) {
    const Tile tile = tiles[blockIdx.y];
    if (tile.rows == 0) return;
    const auto w = halves_of(first, second, tile.expert, split, n);
    const int n0 = blockIdx.x * SIDE;
    float sum[4][4] = {};
    dy += tile.first * (long long)k;
    add_product<true, false>(
        sum, tile.rows, k, [&](int i, int l) { return i < tile.rows ? to_float(dy[i * (long long)k + l]) : 0.0f; },
        [&](int l, int j) { return n0 + j < n ? to_float(w.row(l)[n0 + j]) : 0.0f; });
    dx += tile.first * (long long)n + n0;
    for_results(sum, tile.rows, n - n0,
                [&](int i, int j, float value) { dx[i * (long long)n + j] = from_float<X>(value); });
}
KERNEL(256, experts_input_gradient_f32)
(float* dx, const float* dy, const float* const* first, const float* const* second, const Tile* tiles, int n, int k,
 int split) {
    input_gradient(dx, dy, first, second, tiles, n, k, split);
}
KERNEL(256, experts_input_gradient_bf16)
(bf16* dx, const bf16* dy, const bf16* const* first, const bf16* const* second, const Tile* tiles, int n, int k,
 int split) {
    input_gradient(dx, dy, first, second, tiles, n, k, split);
}

// dw[i][j] += the sum over an expert's rows of dy[row][i] * x[row][j], dw [n][cols] in two parts. Grid: column tiles of
// all row tiles of dw, experts.
template <class X>
__device__ void weight_gradient(float* const* first, float* const* second, const X* dy, const X* x, const int* offsets,
                                int n, int cols, int split) {
    const int expert = blockIdx.y, start = offsets[expert], rows = offsets[expert + 1] - start;
    if (rows == 0) return;
    const auto dw = halves_of(first, second, expert, split, cols);
    const int column_tiles = (cols + SIDE - 1) / SIDE;
    const int i0 = blockIdx.x / column_tiles * SIDE, j0 = blockIdx.x % column_tiles * SIDE;
    float sum[4][4] = {};
    dy += start * (long long)n;
    x += start * (long long)cols;
    add_product<false, false>(
        sum, SIDE, rows, [&](int i, int l) { return i0 + i < n ? to_float(dy[l * (long long)n + i0 + i]) : 0.0f; },
        [&](int l, int j) { return j0 + j < cols ? to_float(x[l * (long long)cols + j0 + j]) : 0.0f; });
    for_results(sum, n - i0, cols - j0, [&](int i, int j, float value) {
        float* to = dw.row(i0 + i) + j0 + j;
        *to = __fadd_rn(*to, value);
    });
}
KERNEL(256, experts_weight_gradient_f32)
(float* const* first, float* const* second, const float* dy, const float* x, const int* offsets, int n, int cols,
 int split) {
    weight_gradient(first, second, dy, x, offsets, n, cols, split);
}
KERNEL(256, experts_weight_gradient_bf16)
(float* const* first, float* const* second, const bf16* dy, const bf16* x, const int* offsets, int n, int cols,
 int split) {
    weight_gradient(first, second, dy, x, offsets, n, cols, split);
}

// ---- SwiGLU of rows [gate | up]

// h[rows][width] from gate_up[rows][2 * width]. Grid: rows, blocks of 256 columns.
template <class X> __device__ void swiglu(X* h, const X* gate_up, int width) {
    const long long row = blockIdx.x;
    const int col = blockIdx.y * 256 + threadIdx.x;
    if (col >= width) return;
    const X* gate = gate_up + row * 2 * width + col;
    h[row * width + col] = from_float<X>(swiglu_of(to_float(gate[0]), to_float(gate[width])));
}
KERNEL(256, experts_swiglu_f32)(float* h, const float* gate_up, int width) { swiglu(h, gate_up, width); }
KERNEL(256, experts_swiglu_bf16)(bf16* h, const bf16* gate_up, int width) { swiglu(h, gate_up, width); }

// From dh[rows][width], the gradients before the rows' weights: dweights = h . dh, weighted_h = weight * h, and
// dgate_up[rows][2 * width] from weight * dh. One warp per row.
template <int N, class X>
__device__ void gradient_row(X* dgate_up, X* weighted_h, float* dweights, const X* gate_up, const X* dh,
                             const float* weights, long long row, int width) {
    const int lane = threadIdx.x % 32;
    const float weight = weights[row];
    gate_up += row * 2 * width;
    dgate_up += row * 2 * width;
    dh += row * width;
    weighted_h += row * width;
    float dot = 0.0f;
    for (int col = lane * N; col < width; col += 32 * N) {
        float gate[N], up[N], d[N], h[N];
        load_values(gate, gate_up + col);
        load_values(up, gate_up + width + col);
        load_values(d, dh + col);
#pragma unroll
        for (int i = 0; i < N; i++) {
            const float s = sigmoid_of(gate[i]), silu = __fmul_rn(s, gate[i]), slope = __fmaf_rn(silu, 1.0f - s, s);
            const float value = to_float(from_float<X>(__fmul_rn(silu, up[i])));
            dot = __fmaf_rn(value, d[i], dot);
            const float dvalue = __fmul_rn(weight, d[i]);
            h[i] = __fmul_rn(weight, value);
            gate[i] = __fmul_rn(__fmul_rn(dvalue, up[i]), slope);
            up[i] = __fmul_rn(dvalue, silu);
        }
        store_values(weighted_h + col, h);
        store_values(dgate_up + col, gate);
        store_values(dgate_up + width + col, up);
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) dot = __fadd_rn(dot, __shfl_xor_sync(~0u, dot, distance));
    if (lane == 0) dweights[row] = dot;
}
template <class X>
__device__ void gradient_rows(X* dgate_up, X* weighted_h, float* dweights, const X* gate_up, const X* dh,
                              const float* weights, int rows, int width) {
    const long long row = blockIdx.x * (long long)(blockDim.x / 32) + threadIdx.x / 32;
    if (row >= rows) return;
    if (width % 8 == 0)
        gradient_row<8>(dgate_up, weighted_h, dweights, gate_up, dh, weights, row, width);
    else
        gradient_row<1>(dgate_up, weighted_h, dweights, gate_up, dh, weights, row, width);
}
KERNEL(128, experts_gradient_rows_f32)
(float* dgate_up, float* weighted_h, float* dweights, const float* gate_up, const float* dh, const float* weights,
 int rows, int width) {
    gradient_rows(dgate_up, weighted_h, dweights, gate_up, dh, weights, rows, width);
}
KERNEL(128, experts_gradient_rows_bf16)
(bf16* dgate_up, bf16* weighted_h, float* dweights, const bf16* gate_up, const bf16* dh, const float* weights,
 int rows, int width) {
    gradient_rows(dgate_up, weighted_h, dweights, gate_up, dh, weights, rows, width);
}
