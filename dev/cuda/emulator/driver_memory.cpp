// Allocation, copies and fills of the emulated driver.
#include "driver.h"
#include "memory.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

using namespace emulator;

static void* host(CUdeviceptr pointer) { return reinterpret_cast<void*>(pointer); }

EXPORT CUresult cuMemGetInfo_v2(size_t* free_bytes, size_t* total) {
    BEGIN_CALL(CONTEXT);
    if (free_bytes) *free_bytes = settings.memory - current_device().used;
    if (total) *total = settings.memory;
    return CUDA_SUCCESS;
}

// The driver hands out memory in units of 512 bytes.
static size_t accounted(size_t bytes) { return (bytes + 511) / 512 * 512; }

static CUresult allocate(CUdeviceptr* pointer, size_t bytes) {
    if (!pointer || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    Device& device = current_device();
    if (bytes > settings.memory || accounted(bytes) > settings.memory - device.used) return CUDA_ERROR_OUT_OF_MEMORY;
    void* memory = allocate_global(bytes, current_context->device);
    if (!memory) return CUDA_ERROR_OUT_OF_MEMORY;
    device.used += accounted(bytes);
    *pointer = reinterpret_cast<CUdeviceptr>(memory);
    return CUDA_SUCCESS;
}

static CUresult release(const char* function, CUdeviceptr pointer) {
    int device = device_of_global(host(pointer));
    size_t bytes = free_global(host(pointer));
    if (bytes == 0) return refuse(CUDA_ERROR_INVALID_VALUE, "%s: %p is no allocation", function, host(pointer));
    driver.devices[size_t(device)].used -= accounted(bytes);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr* pointer, size_t bytes) {
    BEGIN_CALL(NO_CAPTURE);
    return allocate(pointer, bytes);
}

EXPORT CUresult cuMemFree_v2(CUdeviceptr pointer) {
    BEGIN_CALL(NO_CAPTURE);
    if (pointer == 0) return CUDA_SUCCESS;
    return release("cuMemFree", pointer);
}

static bool is_captured(CUstream stream) { return !is_default_stream(stream) && stream->capture; }

// In a capture the real driver would make these a part of the graph; the emulator does not.
static CUresult check_pool_call(const char* function, CUstream stream) {
    if (!is_default_stream(stream) && !driver.streams.count(stream)) return CUDA_ERROR_INVALID_HANDLE;
    if (is_captured(stream))
        return refuse(CUDA_ERROR_NOT_SUPPORTED, "%s: the emulator has no memory nodes in graphs", function);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuMemAllocAsync(CUdeviceptr* pointer, size_t bytes, CUstream stream) {
    BEGIN_CALL(CONTEXT);
    CUresult result = check_pool_call("cuMemAllocAsync", stream);
    return result != CUDA_SUCCESS ? result : allocate(pointer, bytes);
}

EXPORT CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream stream) {
    BEGIN_CALL(CONTEXT);
    CUresult result = check_pool_call("cuMemFreeAsync", stream);
    return result != CUDA_SUCCESS ? result : release("cuMemFreeAsync", pointer);
}

// ---- page-locked host memory

static auto& host_allocations = *new std::map<void*, size_t>;

EXPORT CUresult cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
    BEGIN_CALL(NO_CAPTURE);
    if (!pointer || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    void* memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!memory) return CUDA_ERROR_OUT_OF_MEMORY;
    memset(memory, 0xFF, bytes);
    host_allocations[memory] = bytes;
    *pointer = memory;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuMemAllocHost_v2(void** pointer, size_t bytes) { return cuMemHostAlloc(pointer, bytes, 0); }

EXPORT CUresult cuMemFreeHost(void* pointer) {
    BEGIN_CALL(NO_CAPTURE);
    if (!host_allocations.erase(pointer))
        return refuse(CUDA_ERROR_INVALID_VALUE, "cuMemFreeHost: %p is no allocation", pointer);
    free(pointer);
    return CUDA_SUCCESS;
}

// ---- copies

enum Direction { HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE };

static CUresult copy_now(const char* function, Direction direction, void* to, const void* from, size_t bytes) {
    if (bytes == 0) return CUDA_SUCCESS;
    if (!to || !from) return refuse(CUDA_ERROR_INVALID_VALUE, "%s: a null pointer and %zu bytes", function, bytes);
    if (direction != DEVICE_TO_HOST && !check_global(to, bytes, function)) return CUDA_ERROR_INVALID_VALUE;
    if (direction != HOST_TO_DEVICE && !check_global(from, bytes, function)) return CUDA_ERROR_INVALID_VALUE;
    memmove(to, from, bytes);
    return CUDA_SUCCESS;
}

static CUresult copy_async(const char* function, Direction direction, void* to, const void* from, size_t bytes,
                           CUstream stream) {
    return submit(function, stream, [=] { return copy_now(function, direction, to, from, bytes); });
}

EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
    BEGIN_CALL(NO_CAPTURE);
    return copy_now("cuMemcpyHtoD", HOST_TO_DEVICE, host(to), from, bytes);
}

EXPORT CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
    BEGIN_CALL(NO_CAPTURE);
    return copy_now("cuMemcpyDtoH", DEVICE_TO_HOST, to, host(from), bytes);
}

EXPORT CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    BEGIN_CALL(NO_CAPTURE);
    return copy_now("cuMemcpyDtoD", DEVICE_TO_DEVICE, host(to), host(from), bytes);
}

EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
    BEGIN_CALL(CONTEXT);
    return copy_async("cuMemcpyHtoDAsync", HOST_TO_DEVICE, host(to), from, bytes, stream);
}

EXPORT CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
    BEGIN_CALL(CONTEXT);
    return copy_async("cuMemcpyDtoHAsync", DEVICE_TO_HOST, to, host(from), bytes, stream);
}

EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    BEGIN_CALL(CONTEXT);
    return copy_async("cuMemcpyDtoDAsync", DEVICE_TO_DEVICE, host(to), host(from), bytes, stream);
}

EXPORT CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, size_t bytes,
                                  CUstream stream) {
    BEGIN_CALL(CONTEXT);
    return copy_async("cuMemcpyPeerAsync", DEVICE_TO_DEVICE, host(to), host(from), bytes, stream);
}

// ---- fills

template <class T> static CUresult fill_now(const char* function, CUdeviceptr to, T value, size_t count) {
    if (count == 0) return CUDA_SUCCESS;
    if (to % sizeof(T) != 0) return refuse(CUDA_ERROR_INVALID_VALUE, "%s: misaligned pointer", function);
    if (!check_global(host(to), count * sizeof(T), function)) return CUDA_ERROR_INVALID_VALUE;
    T* elements = static_cast<T*>(host(to));
    for (size_t i = 0; i < count; i++) elements[i] = value;
    return CUDA_SUCCESS;
}

template <class T>
static CUresult fill_async(const char* function, CUdeviceptr to, T value, size_t count, CUstream stream) {
    return submit(function, stream, [=] { return fill_now<T>(function, to, value, count); });
}

EXPORT CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) {
    BEGIN_CALL(NO_CAPTURE);
    return fill_now<unsigned char>("cuMemsetD8", to, value, count);
}

EXPORT CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count) {
    BEGIN_CALL(NO_CAPTURE);
    return fill_now<unsigned short>("cuMemsetD16", to, value, count);
}

EXPORT CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) {
    BEGIN_CALL(NO_CAPTURE);
    return fill_now<unsigned>("cuMemsetD32", to, value, count);
}

EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
    BEGIN_CALL(CONTEXT);
    return fill_async<unsigned char>("cuMemsetD8Async", to, value, count, stream);
}

EXPORT CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
    BEGIN_CALL(CONTEXT);
    return fill_async<unsigned short>("cuMemsetD16Async", to, value, count, stream);
}

EXPORT CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
    BEGIN_CALL(CONTEXT);
    return fill_async<unsigned>("cuMemsetD32Async", to, value, count, stream);
}
