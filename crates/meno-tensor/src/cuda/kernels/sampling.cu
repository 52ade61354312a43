// Chooses a token from each row of logits: temperature, top-k, top-p, min-p. cuda/sampling.rs has the same arithmetic
// for the host.
//
// With e = exp(z - max), a token's weight is floor(2^44 e), an integer: sums are exact, so that no order of additions
// matters. Tokens are ordered by e, then by their index. top-k and top-p keep a beginning of this order, which a search
// over the bits of e finds: the least e that is kept, and the last token that has it.
#include "log_softmax.cuh"

namespace {

typedef unsigned long long u64;

// How a row is sampled.
struct Row {
    float inv_temperature, top_p, min_p;
    int top_k, tokens, greedy;
    double u;
};
// What is chosen: for the log-softmax its largest z, the sums of e and of e * d and the logit of the token; the token;
// and 1 if all logits are finite.
struct Sampled {
    float max, sum, weighted, logit;
    int token, finite, unused[2];
};

constexpr int BITS = 10, BINS = 1 << BITS;
static_assert(BINS == 2 * LANES, "a thread has two bins");

__device__ __forceinline__ u64 weight(float e) { return __float2ull_rz(__fmul_rn(e, 17592186044416.0f)); }

// The sum over the bins before this thread's two bins, and over all.
struct Scan {
    u64 before, total;
};
__device__ inline Scan scan(const u64* bins) {
    __shared__ u64 sums[LANES / 32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const u64 own = bins[2 * threadIdx.x] + bins[2 * threadIdx.x + 1];
    u64 through = own;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
        const u64 lower = __shfl_up_sync(0xffffffffu, through, distance);
        if (lane >= distance) through += lower;
    }
    if (lane == 31) sums[warp] = through;
    __syncthreads();
    Scan scan = {through - own, 0};
    for (int w = 0; w < LANES / 32; w++) {
        if (w < warp) scan.before += sums[w];
        scan.total += sums[w];
    }
    __syncthreads();
    return scan;
}

// The first bin where the sum so far exceeds `rank`, and the sum before it. rank is less than the sum over all bins.
struct Place {
    int bin;
    u64 before;
};
__device__ inline Place locate(const u64* bins, Scan scan, u64 rank) {
    __shared__ Place place;
    const u64 first = scan.before + bins[2 * threadIdx.x], second = first + bins[2 * threadIdx.x + 1];
    if (scan.before <= rank && rank < first) place = {int(2 * threadIdx.x), scan.before};
    if (first <= rank && rank < second) place = {int(2 * threadIdx.x + 1), first};
    __syncthreads();
    const Place found = place;
    __syncthreads();
    return found;
}

// Sums `value(j)` over segments of consecutive tokens, one bin a segment.
__device__ __forceinline__ int segment_length(int tokens) { return (tokens + 32 * BINS - 1) / (32 * BINS) * 32; }
template <class Value> __device__ inline void sum_segments(u64* bins, int tokens, Value value) {
    const int lane = threadIdx.x % 32, length = segment_length(tokens);
    for (int s = threadIdx.x / 32; s < BINS; s += LANES / 32) {
        const int start = s * length, end = min(start + length, tokens);
        u64 sum = 0;
        for (int j = start + lane; j < end; j += 32) sum += value(j);
#pragma unroll
        for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
        if (lane == 0) bins[s] = sum;
    }
    __syncthreads();
}

// The first token where the sum of `value(j)` so far exceeds `rank`; the segments are summed.
template <class Value>
__device__ inline int first_token(const u64* bins, Scan scan, u64 rank, int tokens, Value value) {
    __shared__ int token;
    const Place segment = locate(bins, scan, rank);
    if (threadIdx.x < 32) {
        const int lane = threadIdx.x, length = segment_length(tokens), start = segment.bin * length;
        const int end = min(start + length, tokens);
        u64 before = segment.before;
        for (int first = start; first < end; first += 32) {
            u64 through = first + lane < end ? value(first + lane) : 0;
#pragma unroll
            for (int distance = 1; distance < 32; distance *= 2) {
                const u64 lower = __shfl_up_sync(0xffffffffu, through, distance);
                if (lane >= distance) through += lower;
            }
            const unsigned past = __ballot_sync(0xffffffffu, before + through > rank);
            if (past) {
                if (lane == 0) token = first + __ffs(past) - 1;
                break;
            }
            before += __shfl_sync(0xffffffffu, through, 31);
        }
    }
    __syncthreads();
    const int found = token;
    __syncthreads();
    return found;
}

// The tokens that are kept: those with a larger e than `bits` says, those that have it up to token `last`, and none
// with e < least.
struct Kept {
    const float* exps;
    uint32_t bits;
    int last;
    float least;
    __device__ __forceinline__ bool operator()(int j) const {
        const uint32_t own = __float_as_uint(exps[j]);
        return (own > bits || (own == bits && j <= last)) && exps[j] >= least;
    }
};

// Keeps the beginning of the order in which the sum of `value` first exceeds `rank`.
template <class Value>
__device__ inline void keep_through(Kept& kept, u64* bins, u64 rank, int tokens, Value value) {
    uint32_t bits = 0;
    for (int shift = 2 * BITS; shift >= 0; shift -= BITS) {
        for (int bin = threadIdx.x; bin < BINS; bin += LANES) bins[bin] = 0;
        __syncthreads();
        for (int j = threadIdx.x; j < tokens; j += LANES) {
            const uint32_t own = __float_as_uint(kept.exps[j]);
            // The bins descend, as the order does.
            const int bin = BINS - 1 - int(own >> shift & (BINS - 1));
            if ((shift == 2 * BITS || own >> (shift + BITS) == bits) && kept(j)) atomicAdd(&bins[bin], value(j));
        }
        __syncthreads();
        const Place place = locate(bins, scan(bins), rank);
        rank -= place.before;
        bits = bits << BITS | uint32_t(BINS - 1 - place.bin);
    }
    const float* exps = kept.exps;
    const auto equal = [=](int j) { return __float_as_uint(exps[j]) == bits && kept(j) ? value(j) : 0; };
    sum_segments(bins, tokens, equal);
    kept.last = first_token(bins, scan(bins), rank, tokens, equal);
    kept.bits = bits;
}

// The most likely token, the lowest index on ties; every thread gets it.
__device__ inline int most_likely(const float* row, int tokens) {
    __shared__ u64 best[LANES / 32];
    u64 key = 0;
    for (int j = threadIdx.x; j < tokens; j += LANES) {
        // The sum turns a zero positive. The bits become an integer in the order of the floats.
        const uint32_t bits = __float_as_uint(__fadd_rn(row[j], 0.0f));
        const uint32_t order = bits >> 31 ? ~bits : bits | 0x80000000u;
        const u64 own = u64(order) << 32 | uint32_t(~j);
        key = own > key ? own : key;
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        const u64 other = __shfl_xor_sync(0xffffffffu, key, distance);
        key = other > key ? other : key;
    }
    if (threadIdx.x % 32 == 0) best[threadIdx.x / 32] = key;
    __syncthreads();
    for (int warp = 0; warp < LANES / 32; warp++) key = best[warp] > key ? best[warp] : key;
    __syncthreads();
    return int(~uint32_t(key));
}

// floor(fraction * total) or its ceiling, as the host computes it.
__device__ __forceinline__ u64 part_of(double fraction, u64 total) {
    return __double2ull_rz(__dmul_rn(fraction, __ull2double_rn(total)));
}
__device__ __forceinline__ u64 part_of_up(double fraction, u64 total) {
    return __double2ull_ru(__dmul_rn(fraction, __ull2double_rn(total)));
}

// The token that u selects; -1 if all weights are 0.
__device__ inline int select(const Row& row, const float* exps, int best) {
    __shared__ u64 bins[BINS];
    Kept kept = {exps, 0, row.tokens, 0.0f};
    const auto weight_of = [=](int j) { return weight(exps[j]); };
    if (row.top_k > 0 && row.top_k < row.tokens)
        keep_through(kept, bins, u64(row.top_k - 1), row.tokens, [](int) { return 1ull; });
    if (row.top_p < 1.0f) {
        sum_segments(bins, row.tokens, [=](int j) { return kept(j) ? weight_of(j) : 0; });
        const u64 total = scan(bins).total, enough = part_of_up(row.top_p, total);
        if (total > 0) keep_through(kept, bins, min(max(enough, 1ull), total) - 1, row.tokens, weight_of);
    }
    if (row.min_p > 0.0f) kept.least = __fmul_rn(row.min_p, exps[best]);
    const auto weight_of_kept = [=](int j) { return kept(j) ? weight_of(j) : 0; };
    sum_segments(bins, row.tokens, weight_of_kept);
    const Scan sums = scan(bins);
    if (sums.total == 0) return -1;
    const u64 rank = min(part_of(row.u, sums.total), sums.total - 1);
    if (row.top_p < 1.0f) {
        // As on the CPU, tokens that top-p keeps are in the order of their likelihood.
        keep_through(kept, bins, rank, row.tokens, weight_of);
        return kept.last;
    }
    return first_token(bins, sums, rank, row.tokens, weight_of_kept);
}

}  // namespace

// One block of LANES threads per row of logits [rows][vocab]; exps [rows][vocab] is memory that it uses.
KERNEL(512, sample_f32)
(Sampled* results, float* exps, const float* logits, const Row* rows, int vocab) {
    Row row = rows[blockIdx.x];
    row.tokens = min(row.tokens, vocab);
    const long long start = blockIdx.x * (long long)vocab;
    logits += start;
    exps += start;
    const float max = largest_z(logits, vocab, row.inv_temperature);
    float2 sums = make_float2(0.0f, 0.0f);
    bool infinite = false;
#pragma unroll 4
    for (int j = threadIdx.x; j < vocab; j += LANES) {
        infinite |= (__float_as_uint(logits[j]) & 0x7f800000u) == 0x7f800000u;
        exps[j] = add_logit(sums, logits[j], row.inv_temperature, max);
    }
    const int finite = !__syncthreads_or(infinite);
    sums = sum_of_row(sums);
    int token = most_likely(logits, row.tokens);
    if (finite && !row.greedy) {
        const int selected = select(row, exps, token);
        if (selected >= 0) token = selected;
    }
    if (threadIdx.x == 0) results[blockIdx.x] = {max, sums.x, sums.y, logits[token], token, finite, {0, 0}};
}
