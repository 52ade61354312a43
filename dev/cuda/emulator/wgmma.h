// The warpgroup products of compute capability 9.0 (wgmma). By default they happen only when the kernel waits for them
// and read shared memory and registers only then; with MENO_EMULATOR_LAZY=0 they happen at once.
#pragma once
#include "tensor.h"

namespace emulator {

// One wgmma of one thread: d (N / 2 registers) = or += A B.
struct Product {
    float* d;
    const uint32_t* a_registers;  // null when A lies in shared memory
    uint64_t a;                   // matrix descriptors
    uint64_t b;
    int n;
    bool a_transposed;
    bool b_transposed;
    bool accumulate;
};

void start_product(const Product& product, Site site);
void commit_products();
void wait_for_products(int open_groups, Site site);
uint64_t matrix_descriptor(uint32_t address, uint32_t leading_bytes, uint32_t stride_bytes);

}  // namespace emulator

// Matrix descriptors for the 128-byte swizzle.
// K-major tile: rows of 64 k-values (128 bytes), 8 rows = 1024 bytes. The next 16 of k: +2 in the descriptor.
inline uint64_t desc_k(uint32_t address) { return emulator::matrix_descriptor(address, 16, 1024); }
// MN-major tile: blocks of 64 mn-values, `lbo` bytes apart, with a row of 128 bytes for each k; `sbo` bytes for 8 rows.
// The next 16 of k: +128 in the descriptor.
inline uint64_t desc_mn(uint32_t address, uint32_t lbo, uint32_t sbo = 1024) {
    return emulator::matrix_descriptor(address, lbo, sbo);
}

// wgmma m64 nN k16, bf16 to f32. TA, TB = 1: the operand is MN-major. acc = 0: d = A B, else d += A B.
// Until the wait, d and the registers of A belong to the product and must stay in scope.
template <int N, int TA, int TB> struct Wgmma {
    static void ss(float (&d)[N / 2], uint64_t a, uint64_t b, int acc, EMULATOR_SITE) {
        emulator::start_product({d, nullptr, a, b, N, TA != 0, TB != 0, acc != 0}, EMULATOR_HERE);
    }
    static void rs(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int acc, EMULATOR_SITE) {
        emulator::start_product({d, a, 0, b, N, false, TB != 0, acc != 0}, EMULATOR_HERE);
    }
};

inline void wg_fence() {}
inline void wg_commit() { emulator::commit_products(); }
// Waits until at most N committed groups of products are unfinished.
template <int N> void wg_wait(EMULATOR_SITE) { emulator::wait_for_products(N, EMULATOR_HERE); }
