// Kernels for test.cpp: the language, warps, tensor cores, and mistakes that the emulator must show.
#include "device.cuh"

template <class T> __device__ void scale(T* y, const T* x, float factor, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = from_float<T>(to_float(x[i]) * factor);
}
KERNEL(256, scale_f32)(float* y, const float* x, float factor, int n) { scale(y, x, factor, n); }
KERNEL(256, scale_bf16)(bf16* y, const bf16* x, float factor, int n) { scale(y, x, factor, n); }

KERNEL(1024, write_indices)(uint4* out) {
    int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    int threads = blockDim.x * blockDim.y * blockDim.z;
    out[block * threads + thread] = make_uint4(blockIdx.x + 100 * blockIdx.y + 10000 * blockIdx.z, threadIdx.x,
                                               threadIdx.y, threadIdx.z);
}

// Ten results of each lane: shuffles, votes and reductions.
KERNEL(64, shuffles)(int* out) {
    int lane = threadIdx.x % 32, value = threadIdx.x * 3 + 1;
    int* mine = out + threadIdx.x * 10;
    mine[0] = __shfl_sync(~0u, value, 5);
    mine[1] = __shfl_xor_sync(~0u, value, 16);
    mine[2] = __shfl_up_sync(~0u, value, 3);
    mine[3] = __shfl_down_sync(~0u, value, 3);
    mine[4] = int(__ballot_sync(~0u, lane % 3 == 0));
    mine[5] = __any_sync(~0u, lane == 7) * 2 + __all_sync(~0u, lane < 31);
    mine[6] = int(__reduce_max_sync(~0u, unsigned(value)));
    mine[7] = int(__reduce_add_sync(~0u, unsigned(value)));
    mine[8] = int(__shfl_xor_sync(~0u, 1ll << (lane + 20), 1) >> 20);
    mine[9] = lane < 16 ? __shfl_sync(0xffffu, value, 3) : __shfl_xor_sync(0xffff0000u, value, 1, 8);
}

KERNEL(256, reverse_block)(float* y, const float* x) {
    __shared__ float values[256];
    for (int round = 0; round < 3; round++) {
        values[threadIdx.x] = round == 0 ? x[blockIdx.x * 256 + threadIdx.x] : values[threadIdx.x] + 1;
        __syncthreads();
        float mirrored = values[255 - threadIdx.x];
        __syncthreads();
        values[threadIdx.x] = mirrored;
        __syncthreads();
    }
    y[blockIdx.x * 256 + threadIdx.x] = values[threadIdx.x];
}

// Warps 0 and 1 meet at barrier 1, warps 2 and 3 at barrier 2; threads of warp 3 return early from the block.
KERNEL(128, named_barriers)(int* out) {
    __shared__ int values[128];
    values[threadIdx.x] = threadIdx.x;
    int half = threadIdx.x / 64;
    named_bar(1 + half, 64);
    out[threadIdx.x] = values[threadIdx.x ^ 63];
    if (threadIdx.x >= 96) return;
    __syncthreads();
    out[threadIdx.x] += 1000;
}

KERNEL(256, atomics)(int* sum, unsigned* bits, unsigned long long* large, int* largest) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(sum, i);
    atomicOr(bits, 1u << (i % 32));
    atomicAdd(large, 1ull << 33);
    atomicMax(largest, i);
}

KERNEL(256, arithmetic)(float* out, float a, float b) {
    out[0] = fmaxf(a, b);
    out[1] = to_float(from_float<bf16>(a));
    out[2] = __fmaf_rn(a, a, -a * a);
    out[3] = ex2(3.0f);
    out[4] = float(__popc(0xf0f0u) * 100 + __ffs(8) * 10 + __clz(1 << 28));
    out[5] = unpack_low(pack2(a, 2.0f)) + unpack_high(pack2(a, 2.0f));
    out[6] = to_float(from_float<bf16>(1.00390625f));  // half way: to even, 1.0
    out[7] = float(__float2int_rn(2.5f) + __float2int_rn(-3.7f));
}

// C (f32, 16 x 8) += A (16 x 16) B (16 x 8), one warp; B is stored by columns.
KERNEL(32, multiply_fragment)(float* c, const bf16* a, const bf16* b) {
    SHARED_MEMORY(memory);
    bf16* tile_a = reinterpret_cast<bf16*>(memory);
    bf16* tile_b = tile_a + 256;
    int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) tile_a[i] = a[i];
    for (int i = lane; i < 128; i += 32) tile_b[i] = b[i];
    __syncwarp();
    uint32_t fa[4], fb[2];
    ldsm4(fa, smem_u32(tile_a + (lane % 16) * 16 + lane / 16 * 8));
    ldsm2(fb, smem_u32(tile_b + (lane % 8) * 16 + (lane / 8) % 2 * 8));
    float d[4];
    int row = lane / 4, column = lane % 4 * 2;
    for (int i = 0; i < 4; i++) d[i] = c[(row + i / 2 * 8) * 8 + column + i % 2];
    mma16816(d, fa[0], fa[1], fa[2], fa[3], fb[0], fb[1]);
    for (int i = 0; i < 4; i++) c[(row + i / 2 * 8) * 8 + column + i % 2] = d[i];
}

// Copies 16 bytes a thread through shared memory; the last 4 bytes are left out and become zero.
template <bool wait> __device__ void copy_through(uint4* out, const uint4* in) {
    SHARED_MEMORY(memory);
    uint4* tile = reinterpret_cast<uint4*>(memory);
    cp_async16(smem_u32(tile + threadIdx.x), in + threadIdx.x, 12);
    cp_async_commit();
    if (wait) cp_async_wait<0>();
    __syncthreads();
    out[threadIdx.x] = tile[threadIdx.x ^ 1];
}
KERNEL(64, copy_with_wait)(uint4* out, const uint4* in) { copy_through<true>(out, in); }
KERNEL(64, copy_without_wait)(uint4* out, const uint4* in) { copy_through<false>(out, in); }

KERNEL(256, count_predicates)(int* out) {
    int total = 0;
    for (int round = 0; round < 3; round++) total = total * 1000 + __syncthreads_count(threadIdx.x % 3 == round);
    out[threadIdx.x] = total;
}

// ---- mistakes

// A barrier is missing between the write and the read of the thread below.
KERNEL(256, missing_barrier)(int* out) {
    SHARED_MEMORY(memory);
    int* values = reinterpret_cast<int*>(memory);
    values[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = values[threadIdx.x == 0 ? 0 : threadIdx.x - 1];
}
KERNEL(256, write_past_end)(float* y, int n) { y[n] = 1.0f; }
KERNEL(256, read_at)(float* y, const float* x) { y[0] = x[0]; }
KERNEL(256, barrier_not_reached)(float* y) {
    if (threadIdx.x == 70) __shfl_xor_sync(~0u, 1, 1);
    __syncthreads();
    y[threadIdx.x] = 1.0f;
}
KERNEL(256, write_past_shared)(float* y) {
    SHARED_MEMORY(memory);
    memory[1000 + threadIdx.x] = 1;
    y[0] = 1.0f;
}
KERNEL(256, read_shared_memory)(unsigned* y) {
    SHARED_MEMORY(memory);
    y[blockIdx.x] = *reinterpret_cast<unsigned*>(memory);
    *reinterpret_cast<unsigned*>(memory) = 5;
}
__device__ int recurse(int depth) {
    volatile char large[4096];
    large[depth % 4096] = 1;
    return depth > 1000000 ? large[0] : recurse(depth + 1) + large[1];
}
KERNEL(256, overflow_stack)(int* y) { y[0] = recurse(0); }

// ---- speed

KERNEL(256, do_nothing)(float* y) {
    if (y == nullptr) y[threadIdx.x] = 1.0f;
}
KERNEL(256, one_barrier)(float* y) {
    __syncthreads();
    if (y == nullptr) y[threadIdx.x] = 1.0f;
}
// 128 x 128 x 64 with 8 warps of 32 x 64 results; a [128][64], b [128][64], c [128][128].
KERNEL(256, multiply_128)(float* c, const bf16* a, const bf16* b) {
    SHARED_MEMORY(memory);
    uint32_t base = smem_u32(memory);
    for (int i = threadIdx.x; i < 1024; i += 256) {
        cp_async16(base + swz(i / 8, i % 8), a + i * 8);
        cp_async16(base + 16384 + swz(i / 8, i % 8), b + i * 8);
    }
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, m0 = warp % 4 * 32, n0 = warp / 4 * 64;
    float d[2][8][4] = {};
    for (int k = 0; k < 4; k++) {
        uint32_t fa[2][4], fb[4][4];
        for (int i = 0; i < 2; i++) ldsm4(fa[i], base + swz(m0 + i * 16 + lane % 16, k * 2 + lane / 16));
        for (int j = 0; j < 4; j++)
            ldsm4(fb[j], base + 16384 + swz(n0 + j * 16 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 8; j++)
                mma16816(d[i][j], fa[i][0], fa[i][1], fa[i][2], fa[i][3], fb[j / 2][j % 2 * 2],
                         fb[j / 2][j % 2 * 2 + 1]);
    }
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 8; j++)
            for (int e = 0; e < 4; e++)
                c[(m0 + i * 16 + lane / 4 + e / 2 * 8) * 128 + n0 + j * 8 + lane % 4 * 2 + e % 2] = d[i][j][e];
}
