// The common ground of all kernels: the names they use for what CUDA C++ lacks or spells differently for each
// compiler. Under nvcc they are PTX; the emulator (dev/cuda/emulator) has a model of each in emulator.h.
#pragma once

#ifdef MENO_EMULATOR
#include "emulator.h"
#else

#include <cstdint>
#include <cuda.h>
#include <cuda_bf16.h>

// Defines an entry point: KERNEL(256, scale_f32)(float* y, int n) { ... }. `threads` is the largest block.
// The word stands at the start of a line, where the emulator's build script looks for it.
#define KERNEL(threads, name) extern "C" __global__ void __launch_bounds__(threads) name

// KERNEL(SOLE_384, ...): a block of 384 threads with a multiprocessor to itself, for kernels with reg_inc. It starts
// with all registers, 168 a thread: with fewer, reg_inc would wait forever.
#define SOLE_384 384, 1

// Declares `unsigned char* name`, the dynamic shared memory of the block (1024-byte aligned).
extern __shared__ __align__(1024) unsigned char meno_shared_memory[];
#define SHARED_MEMORY(name) unsigned char* name = meno_shared_memory

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

typedef __nv_bfloat16 bf16;

// ---- conversions, round to nearest even

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(bf16 value) { return __bfloat162float(value); }

template <class T> __device__ __forceinline__ T from_float(float value);
template <> __device__ __forceinline__ float from_float<float>(float value) { return value; }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float value) { return __float2bfloat16_rn(value); }

// Two bf16 in 32 bits, `low` in the lower half (at the lower address).
__device__ __forceinline__ uint32_t pack2(float low, float high) {
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
__device__ __forceinline__ float unpack_low(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float unpack_high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

// Two e4m3 numbers in 32 bits, each with the bits of an f16 that is 2^8 times too small: sign 15, exponent and mantissa
// 13-7. Exact for subnormal numbers too.
__device__ __forceinline__ void unpack_e4m3(float& low, float& high, uint32_t pair) {
    asm("{\n.reg .b32 pair;\n.reg .b16 low, high;\n"
        "mul.rn.f16x2 pair, %2, %3;\n"
        "mov.b32 {low, high}, pair;\n"
        "cvt.f32.f16 %0, low;\n"
        "cvt.f32.f16 %1, high;\n}"
        : "=f"(low), "=f"(high)
        : "r"(pair), "r"(0x5c005c00u));
}

// 2^value and log2(value), approximate; subnormal numbers count as zero.
__device__ __forceinline__ float ex2(float value) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
    return result;
}
__device__ __forceinline__ float lg2(float value) {
    float result;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
    return result;
}

// ---- shared memory

// The address of shared memory as the instructions below take it.
__device__ __forceinline__ uint32_t smem_u32(const void* pointer) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Byte offset of 16-byte chunk `chunk` of row `row` in a tile of 128-byte rows with the 128-byte swizzle.
__device__ __forceinline__ uint32_t swz(uint32_t row, uint32_t chunk) {
    return row * 128 + ((chunk ^ (row & 7)) << 4);
}

// A barrier of `threads` threads of the block (a multiple of 32); `arrive` counts without waiting.
__device__ __forceinline__ void named_bar(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void named_bar_arrive(int id, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// ---- asynchronous copies from global to shared memory: `size` bytes are copied, the rest of the 16 (8, 4) is zero

__device__ __forceinline__ void cp_async16(uint32_t destination, const void* source, int size = 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination), "l"(source), "r"(size) : "memory");
}
__device__ __forceinline__ void cp_async8(uint32_t destination, const void* source, int size = 8) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(destination), "l"(source), "r"(size) : "memory");
}
__device__ __forceinline__ void cp_async4(uint32_t destination, const void* source, int size = 4) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(destination), "l"(source), "r"(size) : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most N of this thread's committed groups are unfinished.
template <int N> __device__ __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// ---- 8x8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8

__device__ __forceinline__ void ldsm4(uint32_t (&r)[4], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}
__device__ __forceinline__ void ldsm4t(uint32_t (&r)[4], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}
__device__ __forceinline__ void ldsm2(uint32_t (&r)[2], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
}
__device__ __forceinline__ void ldsm2t(uint32_t (&r)[2], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
}
// stsm4 and stsm4t: from compute capability 9.0.
__device__ __forceinline__ void stsm4(uint32_t address, uint32_t r0, uint32_t r1, uint32_t r2, uint32_t r3) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address), "r"(r0), "r"(r1),
                 "r"(r2), "r"(r3)
                 : "memory");
}
__device__ __forceinline__ void stsm4t(uint32_t address, uint32_t r0, uint32_t r1, uint32_t r2, uint32_t r3) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address), "r"(r0),
                 "r"(r1), "r"(r2), "r"(r3)
                 : "memory");
}

// d += a b for a 16x16 (row-major fragments), b 16x8 (column-major), bf16 to f32.
__device__ __forceinline__ void mma16816(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                         uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},"
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// ---- from here on: compute capability 9.0 only

// ---- barriers in shared memory (8 bytes, 8-byte aligned)

// A barrier for `count` arrivals.
__device__ __forceinline__ void mbar_init(uint32_t barrier, int count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
// Arrives once and announces `bytes` of TMA loads that belong to this phase.
__device__ __forceinline__ void mbar_expect(uint32_t barrier, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ __forceinline__ void mbar_arrive(uint32_t barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ bool mbar_try(uint32_t barrier, uint32_t parity) {
    uint32_t complete;
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2, %3;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(complete)
        : "r"(barrier), "r"(parity), "r"(20000)
        : "memory");
    return complete;
}
// Waits until the phase with this parity (0 for the first) is complete. After about two seconds it gives up with a
// trap, so that a mistake ends in an error of the launch and not in a card that hangs.
__device__ __forceinline__ void mbar_wait(uint32_t barrier, uint32_t parity) {
    if (mbar_try(barrier, parity)) return;
    const long long limit = 4000000000ll;  // clock cycles
    long long start = clock64();
    while (!mbar_try(barrier, parity))
        if (clock64() - start > limit) __trap();
}

// ---- TMA: boxes of a tensor map (a `const __grid_constant__ CUtensorMap` parameter); x is the innermost coordinate

// Loads a box and reports its bytes to the barrier.
__device__ __forceinline__ void tma_load(uint32_t destination, const CUtensorMap* map, int x, int y,
                                         uint32_t barrier) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];" ::"r"(destination), "l"(map), "r"(x), "r"(y), "r"(barrier)
                 : "memory");
}
__device__ __forceinline__ void tma_load3(uint32_t destination, const CUtensorMap* map, int x, int y, int z,
                                          uint32_t barrier) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(destination), "l"(map), "r"(x), "r"(y), "r"(z), "r"(barrier)
                 : "memory");
}
__device__ __forceinline__ void tma_load4(uint32_t destination, const CUtensorMap* map, int x, int y, int z, int w,
                                          uint32_t barrier) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(destination), "l"(map), "r"(x), "r"(y), "r"(z), "r"(w),
                 "r"(barrier)
                 : "memory");
}
// Stores a box. The writers of `source` call fence_proxy before (and a barrier, when others wrote it).
__device__ __forceinline__ void tma_store(const CUtensorMap* map, uint32_t source, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map), "r"(x),
                 "r"(y), "r"(source)
                 : "memory");
}
__device__ __forceinline__ void tma_store4(const CUtensorMap* map, uint32_t source, int x, int y, int z, int w) {
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%1, %2, %3, %4}], [%5];" ::"l"(map),
                 "r"(x), "r"(y), "r"(z), "r"(w), "r"(source)
                 : "memory");
}
__device__ __forceinline__ void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Waits until at most N of this thread's committed groups of stores have not read shared memory (not written).
template <int N> __device__ __forceinline__ void bulk_wait_read() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}
template <int N> __device__ __forceinline__ void bulk_wait() {
    asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
}
__device__ __forceinline__ void prefetch_map(const CUtensorMap* map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
// Fetches global memory into the L2 cache; address and bytes are multiples of 16.
__device__ __forceinline__ void prefetch_l2(const void* from, uint32_t bytes) {
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
}

// Makes ordinary writes to shared memory visible to TMA and wgmma; makes mbar_init visible.
__device__ __forceinline__ void fence_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
__device__ __forceinline__ void fence_init() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// Gives up registers, or takes them, for all warps of a warpgroup.
template <int N> __device__ __forceinline__ void reg_dec() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> __device__ __forceinline__ void reg_inc() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

// ---- products of a warpgroup: Wgmma<N, TA, TB>::ss and ::rs

#include "wgmma.cuh"

__device__ __forceinline__ void wg_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wg_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most N committed groups of products are unfinished.
template <int N> __device__ __forceinline__ void wg_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// Matrix descriptors for the 128-byte swizzle.
// K-major tile: rows of 64 k-values (128 bytes), 8 rows = 1024 bytes. The next 16 of k: +2 in the descriptor.
__device__ __forceinline__ uint64_t desc_k(uint32_t address) {
    return uint64_t(address >> 4 & 0x3FFF) | 1ull << 16 | uint64_t(1024 >> 4) << 32 | 1ull << 62;
}
// MN-major tile: blocks of 64 mn-values, `lbo` bytes apart, with a row of 128 bytes for each k; `sbo` bytes for 8 rows.
// The next 16 of k: +128 in the descriptor.
__device__ __forceinline__ uint64_t desc_mn(uint32_t address, uint32_t lbo, uint32_t sbo = 1024) {
    return uint64_t(address >> 4 & 0x3FFF) | uint64_t(lbo >> 4) << 16 | uint64_t(sbo >> 4) << 32 | 1ull << 62;
}

#endif  // MENO_EMULATOR
