// Barriers, shuffles, votes and reductions.
#pragma once
#include "block.h"
#include <cstring>

inline void __syncthreads(EMULATOR_SITE) {
    emulator::block_barrier(0, 0, true, "__syncthreads", EMULATOR_HERE);
}

namespace emulator {
// Sums a predicate over the block; the barriers keep the sums of successive calls apart.
inline int count_in_block(bool predicate, const char* operation, Site site) {
    static int count;
    block_barrier(0, 0, true, operation, site);
    count = 0;
    block_barrier(0, 0, true, operation, site);
    count += predicate;
    block_barrier(0, 0, true, operation, site);
    return count;
}
}  // namespace emulator

inline int __syncthreads_count(int predicate, EMULATOR_SITE) {
    return emulator::count_in_block(predicate != 0, "__syncthreads_count", EMULATOR_HERE);
}
inline int __syncthreads_or(int predicate, EMULATOR_SITE) {
    return emulator::count_in_block(predicate != 0, "__syncthreads_or", EMULATOR_HERE) != 0;
}
inline int __syncthreads_and(int predicate, EMULATOR_SITE) {
    return emulator::count_in_block(predicate == 0, "__syncthreads_and", EMULATOR_HERE) == 0;
}

// A barrier of `threads` threads of the block, in PTX bar.sync.
inline void named_bar(int id, int threads, EMULATOR_SITE) {
    emulator::block_barrier(id, threads, true, "named_bar", EMULATOR_HERE);
}

// Counts at the barrier without waiting, in PTX bar.arrive.
inline void named_bar_arrive(int id, int threads, EMULATOR_SITE) {
    emulator::block_barrier(id, threads, false, "named_bar_arrive", EMULATOR_HERE);
}

namespace emulator {

inline void resolve_nothing(void* const*) {}

template <class T> struct ShuffleOperand {
    T value;
    int source;
    T result;
};

// Lanes that take no part give a value of all ones (NaN, -1), since CUDA leaves it undefined.
template <class T> void resolve_shuffle(void* const* operands) {
    for (int lane = 0; lane < WARP; lane++) {
        if (!operands[lane]) continue;
        auto* to = static_cast<ShuffleOperand<T>*>(operands[lane]);
        auto* from = static_cast<ShuffleOperand<T>*>(operands[to->source]);
        if (from)
            to->result = from->value;
        else
            memset(static_cast<void*>(&to->result), 0xFF, sizeof to->result);
    }
}

template <class T> T shuffle(unsigned mask, T value, int source, const char* operation, Site site) {
    ShuffleOperand<T> operand = {value, source, value};
    warp_operation(mask, &operand, resolve_shuffle<T>, operation, site);
    return operand.result;
}

inline int lane() { return current_thread % WARP; }

struct VoteOperand {
    unsigned value;
    unsigned result;
};

// Combines the values of all lanes and gives every lane the result.
template <class Combine> void resolve_vote(void* const* operands, unsigned start, Combine combine) {
    unsigned result = start;
    for (int lane = 0; lane < WARP; lane++)
        if (operands[lane]) result = combine(result, static_cast<VoteOperand*>(operands[lane])->value, lane);
    for (int lane = 0; lane < WARP; lane++)
        if (operands[lane]) static_cast<VoteOperand*>(operands[lane])->result = result;
}

inline void resolve_ballot(void* const* operands) {
    resolve_vote(operands, 0, [](unsigned sum, unsigned value, int lane) { return sum | value << lane; });
}
inline void resolve_max(void* const* operands) {
    resolve_vote(operands, 0, [](unsigned a, unsigned b, int) { return a > b ? a : b; });
}
inline void resolve_min(void* const* operands) {
    resolve_vote(operands, ~0u, [](unsigned a, unsigned b, int) { return a < b ? a : b; });
}
inline void resolve_add(void* const* operands) {
    resolve_vote(operands, 0, [](unsigned a, unsigned b, int) { return a + b; });
}
inline void resolve_or(void* const* operands) {
    resolve_vote(operands, 0, [](unsigned a, unsigned b, int) { return a | b; });
}
inline void resolve_and(void* const* operands) {
    resolve_vote(operands, ~0u, [](unsigned a, unsigned b, int) { return a & b; });
}

inline unsigned vote(unsigned mask, unsigned value, Resolve resolve, const char* operation, Site site) {
    VoteOperand operand = {value, 0};
    warp_operation(mask, &operand, resolve, operation, site);
    return operand.result;
}

}  // namespace emulator

inline void __syncwarp(unsigned mask = ~0u, EMULATOR_SITE) {
    int nothing;
    emulator::warp_operation(mask, &nothing, emulator::resolve_nothing, "__syncwarp", EMULATOR_HERE);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATOR_SITE) {
    int first = emulator::lane() & ~(width - 1);
    return emulator::shuffle(mask, value, first | (source & (width - 1)), "__shfl_sync", EMULATOR_HERE);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int distance, int width = 32, EMULATOR_SITE) {
    int lane = emulator::lane();
    int source = lane ^ distance;
    bool inside = (source & ~(width - 1)) <= (lane & ~(width - 1)) && source < 32;
    return emulator::shuffle(mask, value, inside ? source : lane, "__shfl_xor_sync", EMULATOR_HERE);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, EMULATOR_SITE) {
    int lane = emulator::lane();
    int source = lane - int(distance);
    bool inside = source >= (lane & ~(width - 1));
    return emulator::shuffle(mask, value, inside ? source : lane, "__shfl_up_sync", EMULATOR_HERE);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, EMULATOR_SITE) {
    int lane = emulator::lane();
    int source = lane + int(distance);
    bool inside = source < (lane & ~(width - 1)) + width;
    return emulator::shuffle(mask, value, inside ? source : lane, "__shfl_down_sync", EMULATOR_HERE);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATOR_SITE) {
    return emulator::vote(mask, predicate != 0, emulator::resolve_ballot, "__ballot_sync", EMULATOR_HERE);
}
inline int __any_sync(unsigned mask, int predicate, EMULATOR_SITE) {
    return int(emulator::vote(mask, predicate != 0, emulator::resolve_or, "__any_sync", EMULATOR_HERE));
}
inline int __all_sync(unsigned mask, int predicate, EMULATOR_SITE) {
    return int(emulator::vote(mask, predicate != 0, emulator::resolve_and, "__all_sync", EMULATOR_HERE) & 1);
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value, EMULATOR_SITE) {
    return emulator::vote(mask, value, emulator::resolve_max, "__reduce_max_sync", EMULATOR_HERE);
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value, EMULATOR_SITE) {
    return emulator::vote(mask, value, emulator::resolve_min, "__reduce_min_sync", EMULATOR_HERE);
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned value, EMULATOR_SITE) {
    return emulator::vote(mask, value, emulator::resolve_add, "__reduce_add_sync", EMULATOR_HERE);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, EMULATOR_SITE) {
    return emulator::vote(mask, value, emulator::resolve_or, "__reduce_or_sync", EMULATOR_HERE);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, EMULATOR_SITE) {
    return emulator::vote(mask, value, emulator::resolve_and, "__reduce_and_sync", EMULATOR_HERE);
}

// Only one thread runs at a time, so memory needs no fences and an atomic operation is a plain one.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned) {}
[[noreturn]] inline void __trap() { emulator::kernel_error("__trap()"); }

#define EMULATOR_ATOMIC(name, type, expression)             \
    inline type name(type* address, type value) {           \
        type old = *address;                                \
        *address = expression;                              \
        return old;                                         \
    }
EMULATOR_ATOMIC(atomicAdd, int, int(unsigned(old) + unsigned(value)))
EMULATOR_ATOMIC(atomicAdd, unsigned, old + value)
EMULATOR_ATOMIC(atomicAdd, unsigned long long, old + value)
EMULATOR_ATOMIC(atomicAdd, float, old + value)
EMULATOR_ATOMIC(atomicSub, int, int(unsigned(old) - unsigned(value)))
EMULATOR_ATOMIC(atomicSub, unsigned, old - value)
EMULATOR_ATOMIC(atomicOr, int, old | value)
EMULATOR_ATOMIC(atomicOr, unsigned, old | value)
EMULATOR_ATOMIC(atomicAnd, int, old& value)
EMULATOR_ATOMIC(atomicAnd, unsigned, old& value)
EMULATOR_ATOMIC(atomicXor, unsigned, old ^ value)
EMULATOR_ATOMIC(atomicMax, int, old > value ? old : value)
EMULATOR_ATOMIC(atomicMax, unsigned, old > value ? old : value)
EMULATOR_ATOMIC(atomicMax, unsigned long long, old > value ? old : value)
EMULATOR_ATOMIC(atomicMin, int, old < value ? old : value)
EMULATOR_ATOMIC(atomicMin, unsigned, old < value ? old : value)
EMULATOR_ATOMIC(atomicMin, unsigned long long, old < value ? old : value)
EMULATOR_ATOMIC(atomicExch, int, value)
EMULATOR_ATOMIC(atomicExch, unsigned, value)
EMULATOR_ATOMIC(atomicExch, float, value)
#undef EMULATOR_ATOMIC

template <class T> T atomicCAS(T* address, T expected, T value) {
    T old = *address;
    if (old == expected) *address = value;
    return old;
}
