// Barriers in shared memory (mbarrier) and the copies of the tensor memory accelerator (TMA).
#pragma once
#include "tensor.h"
#include "tensor_map.h"

namespace emulator {

void barrier_init(uint32_t address, int count);
void barrier_arrive(uint32_t address, uint32_t expected_bytes);
void barrier_wait(uint32_t address, uint32_t parity, Site site);

void start_load(uint32_t destination, const CUtensorMap* map, const int (&position)[5], int rank, uint32_t barrier);
void start_store(const CUtensorMap* map, uint32_t source, const int (&position)[5], int rank);
void commit_stores();
void wait_for_stores(int open_groups);
void check_prefetch(const void* from, uint32_t bytes);

}  // namespace emulator

// A barrier for `count` arrivals; it lies in shared memory, 8 bytes, 8-byte aligned.
inline void mbar_init(uint32_t barrier, int count) { emulator::barrier_init(barrier, count); }
// Arrives once and announces `bytes` of TMA loads that belong to this phase.
inline void mbar_expect(uint32_t barrier, uint32_t bytes) { emulator::barrier_arrive(barrier, bytes); }
inline void mbar_arrive(uint32_t barrier) { emulator::barrier_arrive(barrier, 0); }
// Waits until the phase with this parity (0 for the first) is complete.
inline void mbar_wait(uint32_t barrier, uint32_t parity, EMULATOR_SITE) {
    emulator::barrier_wait(barrier, parity, EMULATOR_HERE);
}

inline void tma_load(uint32_t destination, const CUtensorMap* map, int x, int y, uint32_t barrier) {
    emulator::start_load(destination, map, {x, y, 0, 0, 0}, 2, barrier);
}
inline void tma_load3(uint32_t destination, const CUtensorMap* map, int x, int y, int z, uint32_t barrier) {
    emulator::start_load(destination, map, {x, y, z, 0, 0}, 3, barrier);
}
inline void tma_load4(uint32_t destination, const CUtensorMap* map, int x, int y, int z, int w, uint32_t barrier) {
    emulator::start_load(destination, map, {x, y, z, w, 0}, 4, barrier);
}
inline void tma_store(const CUtensorMap* map, uint32_t source, int x, int y) {
    emulator::start_store(map, source, {x, y, 0, 0, 0}, 2);
}
inline void tma_store4(const CUtensorMap* map, uint32_t source, int x, int y, int z, int w) {
    emulator::start_store(map, source, {x, y, z, w, 0}, 4);
}
inline void bulk_commit() { emulator::commit_stores(); }
// Waits until at most N of this thread's committed groups of stores have not read shared memory (not written).
template <int N> void bulk_wait_read() { emulator::wait_for_stores(N); }
template <int N> void bulk_wait() { emulator::wait_for_stores(N); }

// One thread runs at a time and sees all memory, so fences have nothing to do.
inline void fence_proxy() {}
inline void fence_init() {}
inline void prefetch_map(const CUtensorMap*) {}
inline void prefetch_l2(const void* from, uint32_t bytes) { emulator::check_prefetch(from, bytes); }
template <int N> void reg_dec() { static_assert(N >= 24 && N <= 256 && N % 8 == 0); }
template <int N> void reg_inc() { static_assert(N >= 24 && N <= 256 && N % 8 == 0); }
