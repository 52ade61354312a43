// Tests of the emulator: each runs in a process of its own. `test speed` prints times instead.
#include "test.h"
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <csignal>
#include <ctime>
#include <limits>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

CUmodule module;
int failures;

void check(bool condition, const char* what) {
    if (condition) return;
    fprintf(stderr, "FAILED: %s\n", what);
    failures++;
}

void must(CUresult result, const char* what) {
    if (result == CUDA_SUCCESS) return;
    fprintf(stderr, "FAILED: %s returns %d\n", what, result);
    _exit(1);
}

void start_driver() {
    CUcontext context;
    must(cuInit(0), "cuInit");
    must(cuDevicePrimaryCtxRetain(&context, 0), "cuDevicePrimaryCtxRetain");
    must(cuCtxSetCurrent(context), "cuCtxSetCurrent");
    must(cuModuleLoadData(&module, "ignored"), "cuModuleLoadData");
}

CUfunction function(const char* name) {
    CUfunction found = nullptr;
    must(cuModuleGetFunction(&found, module, name), name);
    return found;
}

void in_process(const char* variable, const char* value, void (*test)()) {
    fflush(stderr);
    pid_t child = fork();
    if (child == 0) {
        if (variable) setenv(variable, value, 1);
        failures = 0;
        test();
        _exit(failures ? 1 : 0);
    }
    int status;
    waitpid(child, &status, 0);
    if (status == 0) return;
    if (WIFSIGNALED(status)) fprintf(stderr, "FAILED: a test ended with signal %d\n", WTERMSIG(status));
    failures++;
}

void must_abort(const char* name, void (*test)(), std::vector<std::string> words, const char* variable,
                const char* value) {
    int ends[2];
    if (pipe(ends) != 0) abort();
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        if (variable) setenv(variable, value, 1);
        test();
        _exit(0);
    }
    close(ends[1]);
    std::string output;
    char text[4096];
    for (ssize_t got; (got = read(ends[0], text, sizeof text)) > 0;) output.append(text, size_t(got));
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    bool good = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    for (const std::string& word : words) good = good && output.find(word) != std::string::npos;
    if (good) return;
    fprintf(stderr, "FAILED: %s must abort; status %d, output:\n%s", name, status, output.c_str());
    failures++;
}

static float bf16_value(unsigned short bits) {
    unsigned wide = unsigned(bits) << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
}

static unsigned short small_bf16(int i) {  // a number from -4 to 4 in steps of 0.125, exact in bf16
    float value = float((i * 37 + 11) % 65 - 32) / 8;
    unsigned bits;
    memcpy(&bits, &value, 4);
    return static_cast<unsigned short>(bits >> 16);
}

// ---- language and warps

static void test_launches() {
    start_driver();
    Buffer<float> x(std::vector<float>{1, 2, 3, 4, 5}), y(5);
    check(std::isnan(y.read()[0]), "new memory is NaN");
    must(launch("scale_f32", {1, 256}, y.pointer, x.pointer, 2.0f, 5), "launch");
    check(y.read() == std::vector<float>{2, 4, 6, 8, 10}, "scale_f32");
    Buffer<unsigned> indices(4 * 2 * 3 * 2 * 24);
    void* pointers[] = {&indices.pointer};
    must(cuLaunchKernel(function("write_indices"), 2, 3, 2, 4, 3, 2, 0, nullptr, pointers, nullptr), "launch 3d");
    std::vector<unsigned> got = indices.read();
    for (unsigned i = 0; i < 12 * 24; i++) {
        unsigned b = i / 24, t = i % 24;
        check(got[4 * i] == b % 2 + 100 * (b / 2 % 3) + 10000 * (b / 6), "blockIdx");
        check(got[4 * i + 1] == t % 4 && got[4 * i + 2] == t / 4 % 3 && got[4 * i + 3] == t / 12, "threadIdx");
    }
}

static void test_shuffles() {
    start_driver();
    Buffer<int> out(640);
    must(launch("shuffles", {1, 64}, out.pointer), "shuffles");
    std::vector<int> got = out.read();
    for (int thread = 0; thread < 64; thread++) {
        int lane = thread % 32, first = thread - lane;
        auto value = [&](int of) { return (first + of) * 3 + 1; };
        const int* mine = &got[size_t(thread) * 10];
        check(mine[0] == value(5), "__shfl_sync");
        check(mine[1] == value(lane ^ 16), "__shfl_xor_sync");
        check(mine[2] == value(lane >= 3 ? lane - 3 : lane), "__shfl_up_sync");
        check(mine[3] == value(lane < 29 ? lane + 3 : lane), "__shfl_down_sync");
        check(mine[4] == int(0x49249249), "__ballot_sync");
        check(mine[5] == 2, "__any_sync, __all_sync");
        check(mine[6] == value(31), "__reduce_max_sync");
        check(mine[7] == (first * 32 + 496) * 3 + 32, "__reduce_add_sync");
        check(mine[8] == int(1u << (lane ^ 1)), "__shfl_xor_sync of 64 bits");
        check(mine[9] == (lane < 16 ? value(3) : value(lane ^ 1)), "shuffles of halves of a warp");
    }
}

static void test_barriers() {
    start_driver();
    std::vector<float> x(512);
    for (int i = 0; i < 512; i++) x[size_t(i)] = float(i);
    Buffer<float> in(x), y(512);
    must(launch("reverse_block", {2, 256}, y.pointer, in.pointer), "reverse_block");
    std::vector<float> got = y.read();
    for (int i = 0; i < 512; i++) check(got[size_t(i)] == float(i / 256 * 256 + 255 - i % 256 + 2), "__syncthreads");
    Buffer<int> out(128);
    must(launch("named_barriers", {1, 128}, out.pointer), "named_barriers");
    std::vector<int> named = out.read();
    for (int i = 0; i < 128; i++) check(named[size_t(i)] == (i ^ 63) + (i < 96 ? 1000 : 0), "named barriers");
}

static void test_counts() {
    start_driver();
    Buffer<int> out(100);
    must(launch("count_predicates", {1, 100}, out.pointer), "count_predicates");
    check(out.read() == std::vector<int>(100, 34033033), "__syncthreads_count");
}

static void test_forward_order() {
    start_driver();
    Buffer<int> out(64);
    must(launch("missing_barrier", {1, 64, 1024}, out.pointer), "missing_barrier");
    check(out.read()[63] == 62, "the ascending order hides this missing barrier");
}

static void test_reverse_order() {
    start_driver();
    Buffer<int> out(64);
    must(launch("missing_barrier", {1, 64, 1024}, out.pointer), "missing_barrier");
    check(out.read()[63] == -1, "MENO_EMULATOR_REVERSE shows it");
    test_barriers();
    test_shuffles();
}

// Two threads of the operating system use the card at once.
static void test_host_threads() {
    start_driver();
    auto work = [] {
        CUcontext context;
        must(cuDevicePrimaryCtxRetain(&context, 0), "cuDevicePrimaryCtxRetain");
        must(cuCtxSetCurrent(context), "cuCtxSetCurrent");
        Buffer<float> x(std::vector<float>(512, 5)), y(512);
        for (int i = 0; i < 200; i++) {
            must(launch("reverse_block", {2, 256}, y.pointer, x.pointer), "reverse_block");
            if (y.read() != std::vector<float>(512, 7)) _exit(1);
        }
    };
    std::thread first(work), second(work);
    first.join();
    second.join();
}

static void test_atomics() {
    start_driver();
    Buffer<int> sum(std::vector<int>{0}), largest(std::vector<int>{-5});
    Buffer<unsigned> bits(std::vector<unsigned>{0});
    Buffer<unsigned long long> large(std::vector<unsigned long long>{0});
    must(launch("atomics", {4, 256}, sum.pointer, bits.pointer, large.pointer, largest.pointer), "atomics");
    check(sum.read()[0] == 1023 * 512, "atomicAdd");
    check(bits.read()[0] == ~0u, "atomicOr");
    check(large.read()[0] == 1ull << 43, "atomicAdd of 64 bits");
    check(largest.read()[0] == 1023, "atomicMax");
}

static void test_arithmetic() {
    start_driver();
    Buffer<float> out(8);
    float nan = std::numeric_limits<float>::quiet_NaN();
    must(launch("arithmetic", {1, 1}, out.pointer, 1.1f, nan), "arithmetic");
    std::vector<float> got = out.read();
    check(got[0] == 1.1f, "fmaxf ignores NaN");
    check(got[1] == 1.1015625f, "bf16 rounds to nearest");
    check(got[2] == std::fma(1.1f, 1.1f, -(1.1f * 1.1f)) && got[2] != 0, "__fmaf_rn rounds once, products are rounded");
    check(got[3] == 8, "ex2");
    check(got[4] == 843, "__popc, __ffs, __clz");
    check(got[5] == 3.1015625f, "pack2");
    check(got[6] == 1, "bf16 rounds ties to even");
    check(got[7] == -2, "__float2int_rn");
}

// ---- tensor cores and asynchronous copies

static void test_products() {
    start_driver();
    std::vector<unsigned short> a(256), b(128);
    std::vector<float> c(128), want(128);
    for (int i = 0; i < 256; i++) a[size_t(i)] = small_bf16(i);
    for (int i = 0; i < 128; i++) b[size_t(i)] = small_bf16(3 * i + 1);
    for (int i = 0; i < 128; i++) c[size_t(i)] = want[size_t(i)] = float(i);
    for (size_t row = 0; row < 16; row++)
        for (size_t column = 0; column < 8; column++)
            for (size_t k = 0; k < 16; k++)
                want[row * 8 + column] += bf16_value(a[row * 16 + k]) * bf16_value(b[column * 16 + k]);
    Buffer<unsigned short> in_a(a), in_b(b);
    Buffer<float> out(c);
    must(launch("multiply_fragment", {1, 32, 1024}, out.pointer, in_a.pointer, in_b.pointer), "multiply_fragment");
    check(out.read() == want, "mma m16n8k16 with ldmatrix");
}

static void test_matrices() {
    start_driver();
    std::vector<unsigned short> in(256);
    for (size_t i = 0; i < 256; i++) in[i] = static_cast<unsigned short>(i);
    Buffer<unsigned short> from(in), to(256);
    must(launch("transpose_matrices", {1, 32, 512}, to.pointer, from.pointer), "transpose_matrices");
    std::vector<unsigned short> got = to.read();
    for (size_t i = 0; i < 256; i++)
        check(got[i] == i / 64 * 64 + i % 8 * 8 + i / 8 % 8, "ldmatrix.trans and stmatrix");
}

static std::vector<unsigned> copied(const char* name) {
    std::vector<unsigned> in(256);
    for (unsigned i = 0; i < 256; i++) in[i] = i + 1;
    Buffer<unsigned> from(in), to(256);
    must(launch(name, {1, 64, 1024}, to.pointer, from.pointer), name);
    return to.read();
}

static bool is_copy(const std::vector<unsigned>& got) {
    bool good = true;
    for (unsigned i = 0; i < 256; i++) good = good && got[i] == (i % 4 == 3 ? 0 : (i ^ 4) + 1);
    return good;
}

static void test_copies() {
    start_driver();
    check(is_copy(copied("copy_with_wait")), "cp.async with a wait");
    check(!is_copy(copied("copy_without_wait")), "cp.async without a wait shows");
}

static void test_early_copies() {
    start_driver();
    check(is_copy(copied("copy_without_wait")), "MENO_EMULATOR_LAZY=0 copies at once");
}

// ---- compute capability 9.0

typedef std::vector<unsigned short> Matrix;

static Matrix numbers(size_t count, int seed) {
    Matrix values(count);
    for (size_t i = 0; i < count; i++) values[i] = small_bf16(int(i) * 5 + seed);
    return values;
}

// A map of a bf16 matrix with rows of `width` elements; boxes have 64 x `box_rows` elements and the 128-byte swizzle.
static CUtensorMap map_of(CUdeviceptr matrix, uint64_t width, uint64_t rows, uint32_t box_rows) {
    CUtensorMap map;
    uint64_t lengths[2] = {width, rows}, strides[1] = {width * 2};
    uint32_t box[2] = {64, box_rows}, steps[2] = {1, 1};
    must(cuTensorMapEncodeTiled(&map, 9, 2, reinterpret_cast<void*>(matrix), lengths, strides, box, steps, 0, 3, 0, 0),
         "cuTensorMapEncodeTiled");
    return map;
}

static void test_boxes() {
    start_driver();
    Matrix in = numbers(96 * 10, 3);
    Buffer<unsigned short> from(in), to(Matrix(96 * 10, 7));
    CUtensorMap map_from = map_of(from.pointer, 96, 10, 8), map_to = map_of(to.pointer, 96, 10, 8);
    must(launch("move_box", {1, 32, 1032}, map_from, map_to, 40, -2, 48, 4), "move_box");
    Matrix got = to.read();
    for (int row = 0; row < 10; row++)
        for (int column = 0; column < 96; column++) {
            int x = column - 48 + 40, y = row - 4 - 2;
            int want = 7;  // not written
            if (row >= 4 && column >= 48) want = x >= 96 || y < 0 ? 0 : in[size_t(y * 96 + x)];
            check(got[size_t(row * 96 + column)] == want, "TMA load and store with boxes that leave the tensor");
        }
    CUtensorMap map;
    uint64_t lengths[2] = {96, 10}, strides[1] = {200};
    uint32_t box[2] = {64, 8}, steps[2] = {1, 1};
    void* address = reinterpret_cast<void*>(from.pointer);
    check(cuTensorMapEncodeTiled(&map, 9, 2, address, lengths, strides, box, steps, 0, 3, 0, 0) ==
              CUDA_ERROR_INVALID_VALUE,
          "a stride of 200 bytes is refused");
}

// A box of a tensor with four dimensions, by rows of 16 bytes without a swizzle.
static void test_boxes_of_four_dimensions() {
    start_driver();
    Matrix in = numbers(3 * 4 * 5 * 8, 1);
    Buffer<unsigned short> from(in), to(Matrix(in.size(), 7));
    CUtensorMap maps[2];
    uint64_t lengths[4] = {8, 5, 4, 3}, strides[3] = {16, 80, 320};
    uint32_t box[4] = {8, 2, 3, 2}, steps[4] = {1, 1, 1, 1};
    for (int i = 0; i < 2; i++)
        must(cuTensorMapEncodeTiled(&maps[i], 9, 4, reinterpret_cast<void*>(i ? to.pointer : from.pointer), lengths,
                                    strides, box, steps, 0, 0, 0, 0),
             "cuTensorMapEncodeTiled");
    must(launch("move_box_4d", {1, 32, 1032}, maps[0], maps[1]), "move_box_4d");
    Matrix got = to.read();
    for (int i = 0; i < int(got.size()); i++) {
        int x = i % 8, y = i / 8 % 5, z = i / 40 % 4, w = i / 160;
        // loaded at (0, 3, 2, 1): planes z = 4 and above are zero; stored at (0, 0, 1, 0)
        bool written = y < 2 && z >= 1 && w < 2;
        int want = !written ? 7 : z + 1 > 3 ? 0 : in[size_t(x + 8 * (y + 3) + 40 * (z + 1) + 160 * (w + 1))];
        check(got[size_t(i)] == want, "TMA with four dimensions");
    }
}

constexpr int STEPS = 6;

// True when the kernel computes A B^T of two 64 x 384 matrices.
static bool multiplies(const char* kernel) {
    const size_t width = STEPS * 64;
    Matrix a = numbers(64 * width, 1), b = numbers(64 * width, 2);
    Buffer<unsigned short> in_a(a), in_b(b);
    Buffer<float> c(64 * 64);
    must(launch(kernel, {1, 160, 32800}, c.pointer, map_of(in_a.pointer, width, 64, 64),
                map_of(in_b.pointer, width, 64, 64), STEPS),
         kernel);
    std::vector<float> got = c.read();
    for (size_t i = 0; i < 64; i++)
        for (size_t j = 0; j < 64; j++) {
            float want = 0;  // exact in f32
            for (size_t k = 0; k < width; k++) want += bf16_value(a[i * width + k]) * bf16_value(b[j * width + k]);
            if (got[i * 64 + j] != want) return false;
        }
    return true;
}

static void test_pipeline() {
    start_driver();
    check(multiplies("pipeline"), "mbarriers, TMA and wgmma");
}

static void test_pipeline_mistakes() {
    start_driver();
    check(!multiplies("pipeline_no_wait"), "a missing wait for data shows");
    check(!multiplies("pipeline_early_release"), "an early release of a buffer shows");
    check(!multiplies("pipeline_early_read"), "results read before the wait show");
}

static void wrong_phase() {
    start_driver();
    multiplies("pipeline_wrong_phase");
}

static void no_arrival() {
    start_driver();
    multiplies("pipeline_no_arrival");
}

static void test_register_products() {
    start_driver();
    Matrix a = numbers(64 * 64, 1), b = numbers(64 * 128, 2);
    Buffer<unsigned short> in_a(a), in_b(b);
    Buffer<float> c(64 * 128);
    must(launch("multiply_registers", {1, 128, 16392}, c.pointer, in_a.pointer, map_of(in_b.pointer, 128, 64, 64)),
         "multiply_registers");
    std::vector<float> got = c.read();
    for (size_t i = 0; i < 64; i++)
        for (size_t j = 0; j < 128; j++) {
            float want = 0;
            for (size_t k = 0; k < 64; k++) want += bf16_value(a[i * 64 + k]) * bf16_value(b[k * 128 + j]);
            check(got[i * 128 + j] == want, "wgmma with A in registers and B MN-major");
        }
}

static void store_without_wait() {
    start_driver();
    Buffer<unsigned short> to(64 * 8);
    launch("store_without_wait", {1, 32, 1024}, map_of(to.pointer, 64, 8, 8));
}

static void arrive_too_often() {
    start_driver();
    Buffer<int> y(1);
    launch("arrive_too_often", {1, 32, 1024}, y.pointer);
}

// ---- mistakes in kernels

static void write_past_end() {
    start_driver();
    Buffer<float> y(100);  // 400 bytes, a multiple of 16
    launch("write_past_end", {1, 1}, y.pointer, 103);
}

static void read_freed() {
    start_driver();
    Buffer<float> y(4);
    CUdeviceptr freed;
    must(cuMemAlloc_v2(&freed, 64), "cuMemAlloc");
    must(cuMemFree_v2(freed), "cuMemFree");
    launch("read_at", {1, 1}, y.pointer, freed);
}

static void miss_barrier() {
    start_driver();
    Buffer<float> y(128);
    launch("barrier_not_reached", {1, 128}, y.pointer);
}

static void write_past_shared() {
    start_driver();
    Buffer<float> y(1);
    launch("write_past_shared", {1, 25, 1024}, y.pointer);
}

static void overflow_stack() {
    start_driver();
    Buffer<int> y(1);
    launch("overflow_stack", {1, 1}, y.pointer);
}

static void test_shared_memory() {
    start_driver();
    Buffer<unsigned> y(3);
    must(launch("read_shared_memory", {3, 1, 64}, y.pointer), "read_shared_memory");
    check(y.read() == std::vector<unsigned>(3, ~0u), "each block starts with shared memory of 0xFF");
}

// ---- the driver

static void test_refusals() {
    int count;
    check(cuDeviceGetCount(&count) == CUDA_ERROR_NOT_INITIALIZED, "calls before cuInit are refused");
    start_driver();
    Buffer<float> y(16);
    float host[16] = {};
    CUdeviceptr nothing = 0;
    check(cuMemcpyDtoH_v2(host, y.pointer, 68) == CUDA_ERROR_INVALID_VALUE, "a copy past the end is refused");
    check(cuMemcpyHtoD_v2(y.pointer + 4, host, 64) == CUDA_ERROR_INVALID_VALUE, "so is one that starts late");
    check(cuMemcpyHtoD_v2(nothing, host, 4) == CUDA_ERROR_INVALID_VALUE, "a null pointer is refused");
    check(cuMemFree_v2(y.pointer + 4) == CUDA_ERROR_INVALID_VALUE, "freeing the middle is refused");
    check(launch("do_nothing", {0, 32}, y.pointer) == CUDA_ERROR_INVALID_VALUE, "an empty grid is refused");
    check(launch("do_nothing", {1, 2048}, y.pointer) == CUDA_ERROR_INVALID_VALUE, "2048 threads are refused");
    check(launch("do_nothing", {1, 512}, y.pointer) == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "the launch bound holds");
    CUfunction found;
    check(cuModuleGetFunction(&found, module, "missing") == CUDA_ERROR_NOT_FOUND, "an unknown kernel is not found");
    must(cuCtxSetCurrent(nullptr), "cuCtxSetCurrent");
    check(cuMemAlloc_v2(&nothing, 16) == CUDA_ERROR_INVALID_CONTEXT, "calls without a context are refused");
}

static void test_shared_limit() {
    start_driver();
    Buffer<unsigned> y(1);
    Shape large = {1, 1, 100 * 1024};
    CUfunction kernel = function("read_shared_memory");
    check(launch("read_shared_memory", large, y.pointer) == CUDA_ERROR_INVALID_VALUE, "100 KB must be allowed first");
    check(cuFuncSetAttribute(kernel, FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES, 232449) == CUDA_ERROR_INVALID_VALUE,
          "no function may have more than 232448 bytes");
    must(cuFuncSetAttribute(kernel, FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES, 100 * 1024), "cuFuncSetAttribute");
    check(launch("read_shared_memory", large, y.pointer) == CUDA_SUCCESS, "then 100 KB are accepted");
}

static void test_parameters() {
    start_driver();
    const size_t want[4][2] = {{0, 8}, {8, 8}, {16, 4}, {20, 4}};
    for (size_t i = 0; i < 4; i++) {
        size_t offset, size;
        must(cuFuncGetParamInfo(function("scale_f32"), i, &offset, &size), "cuFuncGetParamInfo");
        check(offset == want[i][0] && size == want[i][1], "cuFuncGetParamInfo");
    }
    size_t offset;
    check(cuFuncGetParamInfo(function("scale_f32"), 4, &offset, nullptr) == CUDA_ERROR_INVALID_VALUE, "only four");
}

static void test_graphs() {
    start_driver();
    CUstream stream;
    CUgraph graph;
    CUgraphExec executable;
    must(cuStreamCreate(&stream, 1), "cuStreamCreate");
    Buffer<float> y(std::vector<float>{1, 2});
    must(cuStreamBeginCapture_v2(stream, CAPTURE_GLOBAL), "cuStreamBeginCapture");
    must(launch("scale_f32", {1, 32, 0, stream}, y.pointer, y.pointer, 3.0f, 2), "launch in a capture");
    must(launch("scale_f32", {1, 32, 0, stream}, y.pointer, y.pointer, 0.5f, 1), "launch in a capture");
    must(cuStreamEndCapture(stream, &graph), "cuStreamEndCapture");
    check(y.read() == std::vector<float>{1, 2}, "a captured launch does not run");
    must(cuGraphInstantiateWithFlags(&executable, graph, 0), "cuGraphInstantiate");
    must(cuGraphLaunch(executable, stream), "cuGraphLaunch");
    must(cuGraphLaunch(executable, stream), "cuGraphLaunch");
    check(y.read() == std::vector<float>{2.25f, 18}, "a graph replays its launches in order");
    must(cuStreamBeginCapture_v2(stream, CAPTURE_GLOBAL), "cuStreamBeginCapture");
    CUdeviceptr pointer;
    check(cuMemAlloc_v2(&pointer, 16) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "no allocation during a capture");
    check(cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "it invalidates the capture");
}

static void test_out_of_memory() {
    start_driver();
    CUdeviceptr first, second;
    size_t free_bytes, total;
    check(cuMemAlloc_v2(&first, 1000001) == CUDA_ERROR_OUT_OF_MEMORY, "more than the card has");
    must(cuMemAlloc_v2(&first, 600000), "cuMemAlloc");
    must(cuMemGetInfo_v2(&free_bytes, &total), "cuMemGetInfo");
    check(total == 1000000 && free_bytes == 1000000 - 600064, "cuMemGetInfo agrees");
    check(cuMemAlloc_v2(&second, 500000) == CUDA_ERROR_OUT_OF_MEMORY, "more than is free");
    must(cuMemFree_v2(first), "cuMemFree");
    must(cuMemAlloc_v2(&second, 500000), "freed memory can be used again");
}

static void test_large_allocations() {
    start_driver();
    Buffer<unsigned> large(300 << 18);  // 300 MiB
    unsigned ends[2] = {0, 0};
    must(cuMemcpyDtoH_v2(&ends[0], large.pointer, 4), "cuMemcpyDtoH");
    must(cuMemcpyDtoH_v2(&ends[1], large.pointer + (300ull << 20) - 4, 4), "cuMemcpyDtoH");
    check(ends[0] == ~0u && ends[1] == ~0u, "large allocations are 0xFF");
    must(cuMemsetD32_v2(large.pointer, 7, 1), "cuMemsetD32");
    Buffer<unsigned> other(300 << 18);
    must(cuMemcpyDtoH_v2(&ends[0], other.pointer, 4), "cuMemcpyDtoH");
    check(ends[0] == ~0u, "and do not share what is written");
}

static void test_lost_device() {
    start_driver();
    Buffer<float> y(2);
    check(launch("do_nothing", {1, 32}, y.pointer) == CUDA_SUCCESS, "launch 1 works");
    check(launch("do_nothing", {1, 32}, y.pointer) == CUDA_SUCCESS, "launch 2 works");
    check(launch("do_nothing", {1, 32}, y.pointer) == CUDA_ERROR_LAUNCH_FAILED, "launch 3 loses the device");
    float host[2];
    check(cuMemcpyDtoH_v2(host, y.pointer, 8) == CUDA_ERROR_LAUNCH_FAILED, "later calls fail too");
}

static void test_no_device() { check(cuInit(0) == CUDA_ERROR_NO_DEVICE, "no device"); }

static void test_devices() {
    must(cuInit(0), "cuInit");
    int count, major;
    must(cuDeviceGetCount(&count), "cuDeviceGetCount");
    must(cuDeviceGetAttribute(&major, 75, 2), "cuDeviceGetAttribute");
    check(count == 3 && major == 9, "three devices");
}

static void test_old_card() {
    must(cuInit(0), "cuInit");
    int major, minor;
    must(cuDeviceGetAttribute(&major, 75, 0), "cuDeviceGetAttribute");
    must(cuDeviceGetAttribute(&minor, 76, 0), "cuDeviceGetAttribute");
    check(major == 7 && minor == 5, "MENO_EMULATOR_COMPUTE");
}

// ---- speed

// CPU time of this process; other programs on the machine matter less.
static double seconds() {
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
}

static void print_speed() {
    start_driver();
    Buffer<float> y(128 * 128);
    for (const char* name : {"do_nothing", "one_barrier"}) {
        double start = seconds();
        for (int i = 0; i < 10000; i++) must(launch(name, {4, 256}, y.pointer), name);
        printf("10,000 launches of 4 x 256 threads, %s: %.3f s\n", name, seconds() - start);
    }
    Buffer<unsigned short> a(std::vector<unsigned short>(128 * 64, 0)), b(std::vector<unsigned short>(128 * 64, 0));
    double start = seconds();
    for (int i = 0; i < 100; i++) must(launch("multiply_128", {1, 256, 32768}, y.pointer, a.pointer, b.pointer), "");
    printf("a product 128 x 128 x 64 by mma: %.3f ms\n", (seconds() - start) * 10);
}

static void run_tests() {
    for (auto test : {test_launches, test_shuffles, test_barriers, test_counts, test_atomics,
                      test_forward_order, test_host_threads, test_arithmetic, test_products,
                      test_matrices, test_copies, test_shared_memory, test_refusals, test_shared_limit,
                      test_parameters, test_graphs, test_large_allocations})
        in_process(nullptr, nullptr, test);
    in_process("MENO_EMULATOR_LAZY", "0", test_early_copies);
    in_process("MENO_EMULATOR_REVERSE", "1", test_reverse_order);
    in_process("MENO_EMULATOR_MEMORY", "1000000", test_out_of_memory);
    in_process("MENO_EMULATOR_LOSE_AFTER", "2", test_lost_device);
    in_process("MENO_EMULATOR_DEVICES", "0", test_no_device);
    in_process("MENO_EMULATOR_DEVICES", "3", test_devices);
    in_process("MENO_EMULATOR_COMPUTE", "75", test_old_card);
    in_process(nullptr, nullptr, test_boxes);
    in_process(nullptr, nullptr, test_boxes_of_four_dimensions);
    in_process(nullptr, nullptr, test_pipeline_mistakes);
    for (const char* lazy : {"0", "1", "2"}) {
        in_process("MENO_EMULATOR_LAZY", lazy, test_pipeline);
        in_process("MENO_EMULATOR_LAZY", lazy, test_register_products);
    }
    must_abort("a wrong phase", wrong_phase, {"deadlock in kernel pipeline_wrong_phase", "mbar_wait at hopper.cu:"});
    must_abort("a missing arrival", no_arrival, {"deadlock in kernel pipeline_no_arrival", "thread 128 waits"});
    must_abort("a store without a wait", store_without_wait, {"before its TMA stores were waited for"});
    must_abort("too many arrivals", arrive_too_often, {"more arrivals at the mbarrier"});
    must_abort("a write past the end", write_past_end,
               {"write_past_end", "12 bytes past the end of an allocation of 400 bytes"});
    must_abort("a read of freed memory", read_freed, {"read_at", "byte 0 of a freed allocation of 64 bytes"});
    must_abort("a barrier not reached", miss_barrier,
               {"deadlock in kernel barrier_not_reached", "thread 70 waits in __shfl_xor_sync at basic.cu:",
                "threads 71 to 127 wait in __syncthreads at basic.cu:"});
    must_abort("a write past shared memory", write_past_shared,
               {"write_past_shared", "0 bytes past the end of 1024 bytes of dynamic shared memory"});
    must_abort("a stack overflow", overflow_stack, {"overflow_stack", "the stack of the thread overflows"});
}

int main(int count, char** arguments) {
    if (count > 1 && strcmp(arguments[1], "speed") == 0) {
        print_speed();
        return 0;
    }
    run_tests();
    if (failures == 0) return 0;
    fprintf(stderr, "%d tests of the CUDA emulator failed\n", failures);
    return 1;
}
