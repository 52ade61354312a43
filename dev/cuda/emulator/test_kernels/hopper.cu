// Kernels for test.cpp of compute capability 9.0: stmatrix, mbarriers, TMA and wgmma, right and with mistakes.
#include "device.cuh"

// Reads four 8x8 matrices transposed and stores them untransposed.
KERNEL(32, transpose_matrices)(unsigned short* out, const unsigned short* in) {
    SHARED_MEMORY(memory);
    unsigned short* tile = reinterpret_cast<unsigned short*>(memory);
    int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) tile[i] = in[i];
    __syncwarp();
    uint32_t r[4];
    ldsm4t(r, smem_u32(tile + lane * 8));
    __syncwarp();
    stsm4(smem_u32(tile + lane * 8), r[0], r[1], r[2], r[3]);
    __syncwarp();
    for (int i = lane; i < 256; i += 32) out[i] = tile[i];
}

// Loads a box of 64 x 8 elements at (x, y), and stores it at (x2, y2) of another tensor.
KERNEL(32, move_box)(const __grid_constant__ CUtensorMap from, const __grid_constant__ CUtensorMap to, int x, int y,
                     int x2, int y2) {
    SHARED_MEMORY(memory);
    uint32_t tile = smem_u32(memory), barrier = tile + 1024;
    if (threadIdx.x == 0) {
        mbar_init(barrier, 1);
        fence_init();
        mbar_expect(barrier, 1024);
        tma_load(tile, &from, x, y, barrier);
    }
    __syncwarp();
    mbar_wait(barrier, 0);
    if (threadIdx.x == 0) {
        tma_store(&to, tile, x2, y2);
        bulk_commit();
        bulk_wait_read<0>();
    }
}

KERNEL(32, move_box_4d)(const __grid_constant__ CUtensorMap from, const __grid_constant__ CUtensorMap to) {
    SHARED_MEMORY(memory);
    uint32_t tile = smem_u32(memory), barrier = tile + 1024;
    if (threadIdx.x == 0) {
        mbar_init(barrier, 1);
        fence_init();
        mbar_expect(barrier, 192);
        tma_load4(tile, &from, 0, 3, 2, 1, barrier);
        mbar_wait(barrier, 0);
        tma_store4(&to, tile, 0, 0, 1, 0);
        bulk_commit();
        bulk_wait<0>();
    }
}

// The mistakes that the kernel below can make.
enum Mistake { NONE, NO_WAIT_FOR_DATA, WRONG_PHASE, EARLY_RELEASE, NO_ARRIVAL, READ_BEFORE_WAIT };

// C (64 x 64, f32) = A B^T, A and B 64 x (64 steps): two stages of 64 k-values, which thread 128 loads, and a consumer
// warpgroup.
template <int mistake>
__device__ void multiply_pipeline(float* c, const CUtensorMap* a, const CUtensorMap* b, int steps) {
    SHARED_MEMORY(memory);
    uint32_t base = smem_u32(memory), full = base + 32768, empty = full + 16;
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < 2; stage++) {
            mbar_init(full + stage * 8, 1);
            mbar_init(empty + stage * 8, 128);
        }
        fence_init();
    }
    __syncthreads();
    if (threadIdx.x >= 128) {
        if (threadIdx.x > 128) return;
        for (int i = 0; i < steps; i++) {
            int stage = i % 2, round = i / 2;
            mbar_wait(empty + stage * 8, (round & 1) ^ (mistake == WRONG_PHASE ? 0 : 1));
            mbar_expect(full + stage * 8, 16384);
            tma_load(base + stage * 16384, a, i * 64, 0, full + stage * 8);
            tma_load(base + stage * 16384 + 8192, b, i * 64, 0, full + stage * 8);
        }
        return;
    }
    float d[32];
    for (int i = 0; i < steps; i++) {
        int stage = i % 2;
        if (mistake != NO_WAIT_FOR_DATA) mbar_wait(full + stage * 8, i / 2 & 1);
        uint64_t da = desc_k(base + stage * 16384), db = desc_k(base + stage * 16384 + 8192);
        wg_fence();
        for (int k = 0; k < 4; k++) Wgmma<64, 0, 0>::ss(d, da + k * 2, db + k * 2, i > 0 || k > 0);
        wg_commit();
        if (mistake == EARLY_RELEASE) {
            mbar_arrive(empty + stage * 8);
            if (i > 0) wg_wait<1>();
        } else {
            if (mistake == READ_BEFORE_WAIT && i == steps - 1) break;
            wg_wait<0>();
            if (mistake != NO_ARRIVAL || threadIdx.x != 5) mbar_arrive(empty + stage * 8);
        }
    }
    int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 4;
    if (mistake == EARLY_RELEASE) wg_wait<0>();
    for (int j = 0; j < 8; j++)
        for (int e = 0; e < 4; e++) c[(row + e / 2 * 8) * 64 + j * 8 + lane % 4 * 2 + e % 2] = d[j * 4 + e];
    if (mistake == READ_BEFORE_WAIT) wg_wait<0>();
}
#define PIPELINE_PARAMETERS \
    (float* c, const __grid_constant__ CUtensorMap a, const __grid_constant__ CUtensorMap b, int steps)
KERNEL(160, pipeline)PIPELINE_PARAMETERS { multiply_pipeline<NONE>(c, &a, &b, steps); }
KERNEL(160, pipeline_no_wait)PIPELINE_PARAMETERS { multiply_pipeline<NO_WAIT_FOR_DATA>(c, &a, &b, steps); }
KERNEL(160, pipeline_wrong_phase)PIPELINE_PARAMETERS { multiply_pipeline<WRONG_PHASE>(c, &a, &b, steps); }
KERNEL(160, pipeline_early_release)PIPELINE_PARAMETERS { multiply_pipeline<EARLY_RELEASE>(c, &a, &b, steps); }
KERNEL(160, pipeline_no_arrival)PIPELINE_PARAMETERS { multiply_pipeline<NO_ARRIVAL>(c, &a, &b, steps); }
KERNEL(160, pipeline_early_read)PIPELINE_PARAMETERS { multiply_pipeline<READ_BEFORE_WAIT>(c, &a, &b, steps); }

// C (64 x 128) = A B with A (64 x 64) from registers, read from global memory, and B MN-major ([64 k][128 n]).
KERNEL(128, multiply_registers)(float* c, const bf16* a, const __grid_constant__ CUtensorMap b) {
    SHARED_MEMORY(memory);
    uint32_t base = smem_u32(memory), barrier = base + 16384;
    if (threadIdx.x == 0) {
        mbar_init(barrier, 1);
        fence_init();
        mbar_expect(barrier, 16384);
        tma_load(base, &b, 0, 0, barrier);
        tma_load(base + 8192, &b, 64, 0, barrier);
    }
    __syncthreads();
    mbar_wait(barrier, 0);
    int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 4, column = lane % 4 * 2;
    uint32_t fa[4][4];
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < 4; i++)
            fa[k][i] = *reinterpret_cast<const uint32_t*>(a + (row + i % 2 * 8) * 64 + k * 16 + column + i / 2 * 8);
    float d[64];
    wg_fence();
    for (int k = 0; k < 4; k++) Wgmma<128, 0, 1>::rs(d, fa[k], desc_mn(base, 8192) + k * 128, k > 0);
    wg_commit();
    wg_wait<0>();
    for (int j = 0; j < 16; j++)
        for (int e = 0; e < 4; e++) c[(row + e / 2 * 8) * 128 + j * 8 + column + e % 2] = d[j * 4 + e];
}

KERNEL(32, store_without_wait)(const __grid_constant__ CUtensorMap to) {
    SHARED_MEMORY(memory);
    if (threadIdx.x == 0) {
        tma_store(&to, smem_u32(memory), 0, 0);
        bulk_commit();
    }
}

KERNEL(32, arrive_too_often)(int* y) {
    SHARED_MEMORY(memory);
    uint32_t barrier = smem_u32(memory);
    if (threadIdx.x == 0) {
        mbar_init(barrier, 2);
        mbar_expect(barrier, 16);  // bytes that never come keep the phase open
        mbar_arrive(barrier);
        mbar_arrive(barrier);
        y[0] = 1;
    }
}
