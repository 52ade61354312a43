// Dispatch and combine of a mixture of experts: a stable sort of pairs (token, choice) by expert, copies of rows, and
// sums of a token's rows. CPU: cpu/ops/dispatch.rs, cpu/ops/combine.rs.
#include "device.cuh"
#include "vectors.cuh"

// A pair is token * choices + choice. Pairs are sorted by expert, then by token; a token has an expert at most once.
// Each chunk of 128 tokens counts its pairs per expert, a scan of all counts gives the first row of each (expert,
// chunk), and a pair's row follows from the tokens before it in its chunk: integers only.
constexpr int CHUNK = 128, WORDS = CHUNK / 32;

// Sets bit t of masks[expert][WORDS] for each token t of this block's chunk that has the expert.
__device__ void mark_tokens(uint32_t* masks, const int* chosen, int tokens, int choices, int experts) {
    for (int i = threadIdx.x; i < experts * WORDS; i += blockDim.x) masks[i] = 0;
    __syncthreads();
    const long long first = blockIdx.x * (long long)CHUNK;
    for (int i = threadIdx.x; i < CHUNK * choices; i += blockDim.x) {
        const int t = i / choices;
        if (first + t < tokens) atomicOr(&masks[chosen[first * choices + i] * WORDS + t / 32], 1u << t % 32);
    }
    __syncthreads();
}

// counts[experts][chunks] of this block's chunk.
__device__ void count_pairs(int* counts, const uint32_t* masks, int experts, int chunks) {
    for (int e = threadIdx.x; e < experts; e += blockDim.x) {
        int count = 0;
        for (int w = 0; w < WORDS; w++) count += __popc(masks[e * WORDS + w]);
        counts[e * (long long)chunks + blockIdx.x] = count;
    }
}

// The sum of the values of lower lanes; `total` gets the sum of all lanes.
__device__ int sum_before(int value, int& total) {
    const int lane = threadIdx.x % 32;
    int sum = value;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
        const int other = __shfl_up_sync(~0u, sum, distance);
        if (lane >= distance) sum += other;
    }
    total = __shfl_sync(~0u, sum, 31);
    return sum - value;
}

// Replaces counts[experts][chunks] by the first row of each, and writes offsets[experts + 1]. For one block.
__device__ void scan_counts(int* counts, int* offsets, int experts, int chunks) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    for (int e = warp; e < experts; e += warps) {
        int rows = 0;
        for (int chunk = lane; chunk - lane < chunks; chunk += 32) {
            int* count = counts + e * (long long)chunks + chunk;
            int total, before = sum_before(chunk < chunks ? *count : 0, total);
            if (chunk < chunks) *count = rows + before;
            rows += total;
        }
        if (lane == 0) offsets[e + 1] = rows;
    }
    __syncthreads();
    if (warp == 0) {
        int rows = 0;
        for (int e = lane; e - lane < experts; e += 32) {
            const int own = e < experts ? offsets[e + 1] : 0;
            int total;
            const int before = sum_before(own, total);
            if (e < experts) offsets[e + 1] = rows + before + own;
            rows += total;
        }
        if (lane == 0) offsets[0] = 0;
    }
    __syncthreads();
    for (int e = warp; e < experts; e += warps)
        for (int chunk = lane; chunk < chunks; chunk += 32) counts[e * (long long)chunks + chunk] += offsets[e];
}

// pair_of[row] and row_of[pair] of this block's chunk, from the first rows of (expert, chunk).
__device__ void place_pairs(int* pair_of, int* row_of, const int* first_rows, const uint32_t* masks, const int* chosen,
                            int tokens, int choices, int chunks) {
    const long long first = blockIdx.x * (long long)CHUNK;
    for (int i = threadIdx.x; i < CHUNK * choices; i += blockDim.x) {
        const int t = i / choices;
        if (first + t >= tokens) break;
        const long long pair = first * choices + i;
        const int expert = chosen[pair];
        const uint32_t* mask = masks + expert * WORDS;
        int row = first_rows[expert * (long long)chunks + blockIdx.x] + __popc(mask[t / 32] & ((1u << t % 32) - 1));
        for (int w = 0; w < t / 32; w++) row += __popc(mask[w]);
        pair_of[row] = int(pair);
        row_of[pair] = row;
    }
}

// The sort in three steps; grid: chunks, one block, chunks. Shared memory: masks[experts][WORDS].
KERNEL(256, dispatch_count)(int* counts, const int* chosen, int tokens, int choices, int experts, int chunks) {
    SHARED_MEMORY(shared);
    uint32_t* masks = reinterpret_cast<uint32_t*>(shared);
    mark_tokens(masks, chosen, tokens, choices, experts);
    count_pairs(counts, masks, experts, chunks);
}
KERNEL(1024, dispatch_scan)(int* counts, int* offsets, int experts, int chunks) {
    scan_counts(counts, offsets, experts, chunks);
}
KERNEL(256, dispatch_place)
(int* pair_of, int* row_of, const int* first_rows, const int* chosen, int tokens, int choices, int experts,
 int chunks) {
    SHARED_MEMORY(shared);
    uint32_t* masks = reinterpret_cast<uint32_t*>(shared);
    mark_tokens(masks, chosen, tokens, choices, experts);
    place_pairs(pair_of, row_of, first_rows, masks, chosen, tokens, choices, chunks);
}

// The whole sort of at most CHUNK tokens, in one block. counts: room for an int per expert.
KERNEL(256, dispatch_sort)
(int* offsets, int* pair_of, int* row_of, int* counts, const int* chosen, int tokens, int choices, int experts) {
    SHARED_MEMORY(shared);
    uint32_t* masks = reinterpret_cast<uint32_t*>(shared);
    mark_tokens(masks, chosen, tokens, choices, experts);
    count_pairs(counts, masks, experts, 1);
    __syncthreads();
    scan_counts(counts, offsets, experts, 1);
    __syncthreads();
    place_pairs(pair_of, row_of, counts, masks, chosen, tokens, choices, 1);
}

// Row r of y = the row of x of r's token; row_weights[r] = weights[pair of r], unless null. One block per row.
template <int N, class X, class Y>
__device__ void gather(Y* y, const X* x, float* row_weights, const float* weights, const int* pair_of, int choices,
                       int cols) {
    const long long row = blockIdx.x;
    const int pair = pair_of[row];
    if (row_weights && threadIdx.x == 0) row_weights[row] = weights[pair];
    x += pair / choices * (long long)cols;
    y += row * cols;
    for (int col = threadIdx.x * N; col < cols; col += blockDim.x * N) {
        float values[N];
        load_values(values, x + col);
        store_values(y + col, values);
    }
}
template <class X, class Y>
__device__ void dispatch_rows(Y* y, const X* x, float* row_weights, const float* weights, const int* pair_of, int choices,
                            int cols) {
    if (cols % 8 == 0)
        gather<8>(y, x, row_weights, weights, pair_of, choices, cols);
    else
        gather<1>(y, x, row_weights, weights, pair_of, choices, cols);
}
KERNEL(128, dispatch_rows_f32_f32)
(float* y, const float* x, float* row_weights, const float* weights, const int* pair_of, int choices, int cols) {
    dispatch_rows(y, x, row_weights, weights, pair_of, choices, cols);
}
KERNEL(128, dispatch_rows_f32_bf16)
(bf16* y, const float* x, float* row_weights, const float* weights, const int* pair_of, int choices, int cols) {
    dispatch_rows(y, x, row_weights, weights, pair_of, choices, cols);
}
KERNEL(128, dispatch_rows_bf16_f32)
(float* y, const bf16* x, float* row_weights, const float* weights, const int* pair_of, int choices, int cols) {
    dispatch_rows(y, x, row_weights, weights, pair_of, choices, cols);
}
KERNEL(128, dispatch_rows_bf16_bf16)
(bf16* y, const bf16* x, float* row_weights, const float* weights, const int* pair_of, int choices, int cols) {
    dispatch_rows(y, x, row_weights, weights, pair_of, choices, cols);
}

// y[token] = start[token] + the sum over the choices, in order, of weights[pair] * x[row of the pair]. start and
// weights may be null: zeros and ones. start may be y. One block per token.
template <int N, class X, class Y>
__device__ void sum_choices(Y* y, const X* x, const Y* start, const float* weights, const int* row_of, int choices,
                            int cols) {
    const long long token = blockIdx.x;
    row_of += token * choices;
    if (weights) weights += token * choices;
    for (int col = threadIdx.x * N; col < cols; col += blockDim.x * N) {
        float sum[N] = {};
        if (start) load_values(sum, start + token * cols + col);
        for (int c = 0; c < choices; c++) {
            float values[N];
            load_values(values, x + row_of[c] * (long long)cols + col);
            const float weight = weights ? weights[c] : 1.0f;
#pragma unroll
            for (int i = 0; i < N; i++) sum[i] = __fmaf_rn(weight, values[i], sum[i]);
        }
        store_values(y + token * cols + col, sum);
    }
}
template <class X, class Y>
__device__ void sum_rows(Y* y, const X* x, const Y* start, const float* weights, const int* row_of, int choices,
                         int cols) {
    if (cols % 8 == 0)
        sum_choices<8>(y, x, start, weights, row_of, choices, cols);
    else
        sum_choices<1>(y, x, start, weights, row_of, choices, cols);
}
KERNEL(128, sum_choices_f32_f32)
(float* y, const float* x, const float* start, const float* weights, const int* row_of, int choices, int cols) {
    sum_rows(y, x, start, weights, row_of, choices, cols);
}
KERNEL(128, sum_choices_f32_bf16)
(bf16* y, const float* x, const bf16* start, const float* weights, const int* row_of, int choices, int cols) {
    sum_rows(y, x, start, weights, row_of, choices, cols);
}
KERNEL(128, sum_choices_bf16_f32)
(float* y, const bf16* x, const float* start, const float* weights, const int* row_of, int choices, int cols) {
    sum_rows(y, x, start, weights, row_of, choices, cols);
}
KERNEL(128, sum_choices_bf16_bf16)
(bf16* y, const bf16* x, const bf16* start, const float* weights, const int* row_of, int choices, int cols) {
    sum_rows(y, x, start, weights, row_of, choices, cols);
}

// dweights[pair] = row_gradients[row of the pair], or += if add.
KERNEL(256, scatter_weights)(float* dweights, const float* row_gradients, const int* row_of, int pairs, int add) {
    const long long pair = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (pair >= pairs) return;
    const float value = row_gradients[row_of[pair]];
    dweights[pair] = add ? __fadd_rn(dweights[pair], value) : value;
}
