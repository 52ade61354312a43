// What the tests of the emulator share: the driver's functions, checks, and tests that must end in an abort.
#pragma once
#include "cuda_types.h"
#include "tensor_map.h"
#include <string>
#include <vector>


EXPORT CUresult cuInit(unsigned);
EXPORT CUresult cuDriverGetVersion(int*);
EXPORT CUresult cuDeviceGetCount(int*);
EXPORT CUresult cuDeviceGetAttribute(int*, int, CUdevice);
EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext*, CUdevice);
EXPORT CUresult cuCtxSetCurrent(CUcontext);
EXPORT CUresult cuMemGetInfo_v2(size_t*, size_t*);
EXPORT CUresult cuMemAlloc_v2(CUdeviceptr*, size_t);
EXPORT CUresult cuMemFree_v2(CUdeviceptr);
EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr, const void*, size_t);
EXPORT CUresult cuMemcpyDtoH_v2(void*, CUdeviceptr, size_t);
EXPORT CUresult cuMemcpyDtoHAsync_v2(void*, CUdeviceptr, size_t, CUstream);
EXPORT CUresult cuMemsetD32_v2(CUdeviceptr, unsigned, size_t);
EXPORT CUresult cuModuleLoadData(CUmodule*, const void*);
EXPORT CUresult cuModuleGetFunction(CUfunction*, CUmodule, const char*);
EXPORT CUresult cuFuncSetAttribute(CUfunction, int, int);
EXPORT CUresult cuFuncGetParamInfo(CUfunction, size_t, size_t*, size_t*);
EXPORT CUresult cuLaunchKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                               CUstream, void**, void**);
EXPORT CUresult cuStreamCreate(CUstream*, unsigned);
EXPORT CUresult cuStreamBeginCapture_v2(CUstream, int);
EXPORT CUresult cuStreamEndCapture(CUstream, CUgraph*);
EXPORT CUresult cuStreamIsCapturing(CUstream, int*);
EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec*, CUgraph, unsigned long long);
EXPORT CUresult cuGraphLaunch(CUgraphExec, CUstream);
EXPORT CUresult cuTensorMapEncodeTiled(CUtensorMap*, int, unsigned, void*, const uint64_t*, const uint64_t*,
                                       const uint32_t*, const uint32_t*, int, int, int, int);

extern CUmodule module;
extern int failures;

// Counts a failure and names it when the condition does not hold.
void check(bool condition, const char* what);
// Ends the test when a call of the driver fails.
void must(CUresult result, const char* what);
// Initialises the driver and makes a context current; for the start of each test's process.
void start_driver();

CUfunction function(const char* name);

// Memory of the emulated card with the contents of a vector.
template <class T> struct Buffer {
    CUdeviceptr pointer = 0;
    size_t count;
    explicit Buffer(size_t count) : count(count) { must(cuMemAlloc_v2(&pointer, count * sizeof(T)), "cuMemAlloc"); }
    explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
        must(cuMemcpyHtoD_v2(pointer, values.data(), count * sizeof(T)), "cuMemcpyHtoD");
    }
    ~Buffer() { cuMemFree_v2(pointer); }
    Buffer(const Buffer&) = delete;
    std::vector<T> read() const {
        std::vector<T> values(count);
        must(cuMemcpyDtoH_v2(values.data(), pointer, count * sizeof(T)), "cuMemcpyDtoH");
        return values;
    }
};

struct Shape {
    unsigned grid = 1, block = 32, shared = 0;
    CUstream stream = nullptr;
};

template <class... Arguments> CUresult launch(const char* name, Shape shape, Arguments... arguments) {
    void* pointers[] = {&arguments..., nullptr};
    return cuLaunchKernel(function(name), shape.grid, 1, 1, shape.block, 1, 1, shape.shared, shape.stream, pointers,
                          nullptr);
}

// Runs a test in a process of its own, where the environment variable is set and the driver is not yet initialised.
void in_process(const char* variable, const char* value, void (*test)());
// The same for a test that must abort with all of these words on stderr.
void must_abort(const char* name, void (*test)(), std::vector<std::string> words, const char* variable = nullptr,
                const char* value = nullptr);

