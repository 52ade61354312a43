// Copies between global and shared memory, and the tensor-core instructions of compute capability 8.0.
#pragma once
#include "arithmetic.h"
#include "block.h"

// The address of shared memory as instructions take it: bytes from the start of dynamic shared memory.
inline uint32_t smem_u32(const void* pointer) {
    return uint32_t(static_cast<const unsigned char*>(pointer) - emulator::shared_memory);
}

// Byte offset of 16-byte chunk `chunk` of row `row` in a tile of 128-byte rows with the 128-byte swizzle.
inline uint32_t swz(uint32_t row, uint32_t chunk) { return row * 128 + ((chunk ^ (row & 7)) << 4); }

namespace emulator {

// The bytes at a shared-memory address, checked against the size of the dynamic shared memory.
unsigned char* shared_at(uint32_t address, size_t bytes, size_t alignment, const char* operation);

void start_copy(uint32_t destination, const void* source, int bytes, int copied);
void commit_copies();
void wait_for_copies(int open_groups);

void load_matrices(uint32_t* registers, int count, bool transposed, uint32_t address, Site site);
void store_matrices(const uint32_t* registers, int count, bool transposed, uint32_t address, Site site);
void multiply_16x8x16(float* d, const uint32_t* a, const uint32_t* b, Site site);

}  // namespace emulator

// cp.async: `size` bytes are copied, the rest of the 16 (8, 4) becomes zero.
inline void cp_async16(uint32_t destination, const void* source, int size = 16) {
    emulator::start_copy(destination, source, 16, size);
}
inline void cp_async8(uint32_t destination, const void* source, int size = 8) {
    emulator::start_copy(destination, source, 8, size);
}
inline void cp_async4(uint32_t destination, const void* source, int size = 4) {
    emulator::start_copy(destination, source, 4, size);
}
inline void cp_async_commit() { emulator::commit_copies(); }
template <int N> void cp_async_wait() { emulator::wait_for_copies(N); }

// ldmatrix and stmatrix of 8x8 matrices of 16-bit elements. Lane i gives the address of row i % 8 of matrix i / 8.
inline void ldsm4(uint32_t (&r)[4], uint32_t address, EMULATOR_SITE) {
    emulator::load_matrices(r, 4, false, address, EMULATOR_HERE);
}
inline void ldsm4t(uint32_t (&r)[4], uint32_t address, EMULATOR_SITE) {
    emulator::load_matrices(r, 4, true, address, EMULATOR_HERE);
}
inline void ldsm2(uint32_t (&r)[2], uint32_t address, EMULATOR_SITE) {
    emulator::load_matrices(r, 2, false, address, EMULATOR_HERE);
}
inline void ldsm2t(uint32_t (&r)[2], uint32_t address, EMULATOR_SITE) {
    emulator::load_matrices(r, 2, true, address, EMULATOR_HERE);
}
inline void stsm4(uint32_t address, uint32_t r0, uint32_t r1, uint32_t r2, uint32_t r3,
                  EMULATOR_SITE) {
    uint32_t r[4] = {r0, r1, r2, r3};
    emulator::store_matrices(r, 4, false, address, EMULATOR_HERE);
}
inline void stsm4t(uint32_t address, uint32_t r0, uint32_t r1, uint32_t r2, uint32_t r3,
                   EMULATOR_SITE) {
    uint32_t r[4] = {r0, r1, r2, r3};
    emulator::store_matrices(r, 4, true, address, EMULATOR_HERE);
}

// mma.sync.m16n8k16, bf16 to f32: d += a b, the products of an element added in ascending order of k.
inline void mma16816(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1,
                     EMULATOR_SITE) {
    uint32_t a[4] = {a0, a1, a2, a3};
    uint32_t b[2] = {b0, b1};
    emulator::multiply_16x8x16(d, a, b, EMULATOR_HERE);
}
