// The router: affinities, selection of experts, weights, balance loss, gradients; one warp per token. CPU:
// cpu/ops/router.rs. Equal affinities give the choices of every other device.
#include "device.cuh"

typedef unsigned long long Candidate;  // a key in the upper half; in the lower half, the larger the lower the expert

constexpr uint32_t TAKEN = 0;           // the key of an expert that is already chosen
constexpr uint32_t NEVER = 0x007fffff;  // the key of -infinity
// How affinities follow from logits: sigmoid, softmax over the experts, or they are given.
constexpr int SIGMOID = 0, GIVEN = 2;
// What selects groups: the sum of their two best experts; any other rule but NO_GROUPS: their best.
constexpr int NO_GROUPS = 0, BY_TWO = 1;

// A larger float has a larger key. NaN counts as -infinity, and -0 as 0.
__device__ uint32_t key_of(float value) {
    if (value != value) return NEVER;
    const uint32_t bits = __float_as_uint(__fadd_rn(value, 0.0f));
    return bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
}
__device__ float value_of(uint32_t key) { return __uint_as_float(key ^ (key >> 31 ? 0x80000000u : 0xffffffffu)); }

__device__ float sum_of_warp(float value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        value = __fadd_rn(value, __shfl_xor_sync(~0u, value, distance));
    return value;
}

// Returns the best of the warp's experts that is not taken and takes it. All lanes get the result.
__device__ int take_best(uint32_t* keys, int experts) {
    Candidate best = 0;
    for (int e = threadIdx.x % 32; e < experts; e += 32) {
        const Candidate candidate = Candidate(keys[e]) << 32 | (0xffffffffu - e);
        if (candidate > best) best = candidate;
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        const Candidate other = __shfl_xor_sync(~0u, best, distance);
        if (other > best) best = other;
    }
    const int expert = int(0xffffffffu - uint32_t(best));
    if (expert % 32 == int(threadIdx.x % 32)) keys[expert] = TAKEN;
    __syncwarp();
    return expert;
}

// The key that selects a group of `size` experts.
__device__ uint32_t key_of_group(const uint32_t* keys, int size, int rule) {
    uint32_t first = NEVER, second = NEVER;
    for (int i = 0; i < size; i++) {
        const uint32_t key = keys[i];
        if (key > first) {
            second = first;
            first = key;
        } else if (key > second) {
            second = key;
        }
    }
    return rule == BY_TWO && size > 1 ? key_of(__fadd_rn(value_of(first), value_of(second))) : first;
}

// Gives the experts outside the `kept` best groups the key of -infinity. `of_groups` has room for a key per group.
__device__ void mask_groups(uint32_t* keys, uint32_t* of_groups, int experts, int groups, int kept, int rule) {
    const int lane = threadIdx.x % 32, size = experts / groups;
    for (int g = lane; g < groups; g += 32) of_groups[g] = key_of_group(keys + g * size, size, rule);
    __syncwarp();
    for (int g = lane; g < groups; g += 32) {
        const uint32_t own = of_groups[g];
        int better = 0;
        for (int other = 0; other < groups; other++) {
            const uint32_t key = of_groups[other];
            better += key > own || (key == own && other < g);
        }
        if (better >= kept)
            for (int i = 0; i < size; i++) keys[g * size + i] = NEVER;
    }
    __syncwarp();
}

// Converts the logits of a token to affinities, in place. A lane has every 32nd expert.
__device__ void score(float* s, int experts, int scoring) {
    const int lane = threadIdx.x % 32;
    if (scoring == SIGMOID) {
        for (int e = lane; e < experts; e += 32) s[e] = __fdiv_rn(1.0f, __fadd_rn(1.0f, expf(-s[e])));
        return;
    }
    float max = -INFINITY, sum = 0.0f;
    for (int e = lane; e < experts; e += 32) max = fmaxf(max, s[e]);
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) max = fmaxf(max, __shfl_xor_sync(~0u, max, distance));
    for (int e = lane; e < experts; e += 32) {
        s[e] = expf(__fsub_rn(s[e], max));
        sum = __fadd_rn(sum, s[e]);
    }
    sum = sum_of_warp(sum);
    for (int e = lane; e < experts; e += 32) s[e] = __fdiv_rn(s[e], sum);
}

// Converts scores[rows][experts] from logits to affinities and chooses the `chosen_count` experts of each token: chosen
// and weights [rows][chosen_count], best first. Adds to load[experts] how often each is chosen. bias: [experts], or
// null. Shared memory: experts + groups keys per warp.
KERNEL(256, router_choose)
(int* chosen, float* weights, int* load, float* scores, const float* bias, int rows, int experts, int scoring,
 int chosen_count, int groups, int kept_groups, int group_rule, int normalizes, float scale) {
    SHARED_MEMORY(shared);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const long long row = blockIdx.x * (long long)(blockDim.x / 32) + warp;
    if (row >= rows) return;
    uint32_t* keys = reinterpret_cast<uint32_t*>(shared) + (long long)warp * (experts + groups);
    float* s = scores + row * experts;
    if (scoring != GIVEN) score(s, experts, scoring);
    for (int e = lane; e < experts; e += 32) keys[e] = key_of(bias ? __fadd_rn(s[e], bias[e]) : s[e]);
    __syncwarp();
    if (group_rule != NO_GROUPS) mask_groups(keys, keys + experts, experts, groups, kept_groups, group_rule);
    chosen += row * chosen_count;
    weights += row * chosen_count;
    float sum = 0.0f;
    for (int c = 0; c < chosen_count; c++) {
        const int expert = take_best(keys, experts);
        sum = __fadd_rn(sum, s[expert]);
        if (lane == c % 32) {
            chosen[c] = expert;
            weights[c] = s[expert];
        }
        if (lane == 0) atomicAdd(load + expert, 1);
    }
    const float divisor = normalizes ? __fadd_rn(sum, 1e-20f) : 1.0f;
    for (int c = lane; c < chosen_count; c += 32) weights[c] = __fmul_rn(__fdiv_rn(weights[c], divisor), scale);
}

// counts[segments][experts] += how often the tokens of a sequence would choose each expert by its affinity alone.
// Shared memory: experts keys per warp.
KERNEL(256, router_balance_counts)
(int* counts, const float* scores, const int* row_segments, int rows, int experts, int chosen_count) {
    SHARED_MEMORY(shared);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const long long row = blockIdx.x * (long long)(blockDim.x / 32) + warp;
    if (row >= rows) return;
    uint32_t* keys = reinterpret_cast<uint32_t*>(shared) + (long long)warp * experts;
    for (int e = lane; e < experts; e += 32) keys[e] = key_of(scores[row * experts + e]);
    __syncwarp();
    int* of_sequence = counts + row_segments[row] * (long long)experts;
    for (int c = 0; c < chosen_count; c++) {
        const int expert = take_best(keys, experts);
        if (lane == 0) atomicAdd(of_sequence + expert, 1);
    }
}

// f of an expert in a sequence of `length` tokens: experts / (chosen_count * length) * count.
__device__ float frequency(int count, int length, int experts, int chosen_count) {
    return __fmul_rn(float(count), __fdiv_rn(float(experts), float((long long)chosen_count * length)));
}

// stats[rows] = {sum of f s / S, S} with S = sum of s, for each token.
KERNEL(256, router_balance_rows)
(float2* stats, const float* scores, const int* counts, const int4* segments, const int* row_segments, int rows,
 int experts, int chosen_count) {
    const int lane = threadIdx.x % 32;
    const long long row = blockIdx.x * (long long)(blockDim.x / 32) + threadIdx.x / 32;
    if (row >= rows) return;
    const int segment = row_segments[row], length = segments[segment].y;
    const float* s = scores + row * experts;
    const int* count = counts + segment * (long long)experts;
    float sum = 0.0f, weighted = 0.0f;
    for (int e = lane; e < experts; e += 32) {
        sum = __fadd_rn(sum, s[e]);
        weighted = __fmaf_rn(frequency(count[e], length, experts, chosen_count), s[e], weighted);
    }
    sum = sum_of_warp(sum);
    weighted = sum_of_warp(weighted);
    if (lane == 0) stats[row] = make_float2(__fdiv_rn(weighted, sum), sum);
}

// losses[segment] = factors[segment] * the sum of stats.x over the sequence's tokens. One block per sequence, sums in
// f64. factors: alpha * (sum of token weights) / tokens.
KERNEL(256, router_balance_loss)(float* losses, const float2* stats, const float* factors, const int4* segments) {
    __shared__ double sums[256];
    const int thread = threadIdx.x, first = segments[blockIdx.x].x, length = segments[blockIdx.x].y;
    double sum = 0.0;
    for (int i = thread; i < length; i += 256) sum += stats[first + i].x;
    sums[thread] = sum;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (thread < half) sums[thread] += sums[thread + half];
        __syncthreads();
    }
    const float factor = factors[blockIdx.x];
    if (thread == 0) losses[blockIdx.x] = factor == 0.0f ? 0.0f : float(sums[0] * factor);
}

// dlogits[rows][experts] from the gradient of the weights, dweights[rows][chosen_count], and, if stats is not null,
// from the balance loss: factor * (f - stats.x) / S.
KERNEL(256, router_backward)
(float* dlogits, const float* scores, const float* dweights, const int* chosen, const float2* stats,
 const float* factors, const int* counts, const int4* segments, const int* row_segments, int rows, int experts,
 int chosen_count, int scoring, int normalizes, float scale) {
    const int lane = threadIdx.x % 32;
    const long long row = blockIdx.x * (long long)(blockDim.x / 32) + threadIdx.x / 32;
    if (row >= rows) return;
    const float *s = scores + row * experts, *dw = dweights + row * chosen_count;
    const int* choice = chosen + row * chosen_count;
    float divisor = 1.0f, mean = 0.0f;
    if (normalizes) {
        float sum = 0.0f, weighted = 0.0f;
        for (int c = 0; c < chosen_count; c++) {
            const float affinity = s[choice[c]];
            sum = __fadd_rn(sum, affinity);
            weighted = __fmaf_rn(affinity, dw[c], weighted);
        }
        divisor = __fadd_rn(sum, 1e-20f);
        mean = __fdiv_rn(weighted, divisor);
    }
    const int segment = stats ? row_segments[row] : 0, length = stats ? segments[segment].y : 1;
    const float2 stat = stats ? stats[row] : make_float2(0.0f, 1.0f);
    const float factor = stats ? factors[segment] : 0.0f;
    float* d = dlogits + row * experts;
    float dot = 0.0f;
    for (int e = lane; e < experts; e += 32) {
        float ds = 0.0f;
        if (factor != 0.0f) {
            const float f = frequency(counts[segment * (long long)experts + e], length, experts, chosen_count);
            ds = __fdiv_rn(__fmul_rn(factor, __fsub_rn(f, stat.x)), stat.y);
        }
        for (int c = 0; c < chosen_count; c++)
            if (choice[c] == e) ds = __fadd_rn(ds, __fdiv_rn(__fmul_rn(scale, __fsub_rn(dw[c], mean)), divisor));
        dot = __fmaf_rn(ds, s[e], dot);
        d[e] = scoring == SIGMOID ? __fmul_rn(ds, __fmul_rn(s[e], __fsub_rn(1.0f, s[e]))) : ds;
    }
    if (scoring == SIGMOID) return;
    dot = sum_of_warp(dot);
    for (int e = lane; e < experts; e += 32) d[e] = __fmul_rn(s[e], __fsub_rn(d[e], dot));
}
