// The part of NVIDIA's cuda.h that the emulated driver needs: handles, structs and numbers as the real ABI has them.
#pragma once
#include <cstddef>
#include <cstdint>

#define EXPORT extern "C" __attribute__((visibility("default")))

typedef unsigned long long CUdeviceptr;
typedef int CUdevice;
typedef struct CUctx_st* CUcontext;
typedef struct CUmod_st* CUmodule;
typedef struct CUfunc_st* CUfunction;
typedef struct CUstream_st* CUstream;
typedef struct CUevent_st* CUevent;
typedef struct CUgraph_st* CUgraph;
typedef struct CUgraphExec_st* CUgraphExec;

struct CUuuid {
    char bytes[16];
};

struct CUlaunchConfig {
    unsigned gridDimX, gridDimY, gridDimZ;
    unsigned blockDimX, blockDimY, blockDimZ;
    unsigned sharedMemBytes;
    CUstream hStream;
    void* attrs;
    unsigned numAttrs;
};

#define CUDA_ERRORS(error)                      \
    error(CUDA_SUCCESS, 0)                      \
    error(CUDA_ERROR_INVALID_VALUE, 1)          \
    error(CUDA_ERROR_OUT_OF_MEMORY, 2)          \
    error(CUDA_ERROR_NOT_INITIALIZED, 3)        \
    error(CUDA_ERROR_NO_DEVICE, 100)            \
    error(CUDA_ERROR_INVALID_DEVICE, 101)       \
    error(CUDA_ERROR_INVALID_IMAGE, 200)        \
    error(CUDA_ERROR_INVALID_CONTEXT, 201)      \
    error(CUDA_ERROR_NO_BINARY_FOR_GPU, 209)    \
    error(CUDA_ERROR_INVALID_HANDLE, 400)       \
    error(CUDA_ERROR_NOT_FOUND, 500)            \
    error(CUDA_ERROR_NOT_READY, 600)            \
    error(CUDA_ERROR_ILLEGAL_ADDRESS, 700)      \
    error(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, 701) \
    error(CUDA_ERROR_LAUNCH_FAILED, 719)        \
    error(CUDA_ERROR_NOT_SUPPORTED, 801)        \
    error(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, 900) \
    error(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, 901) \
    error(CUDA_ERROR_STREAM_CAPTURE_MERGE, 902) \
    error(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, 903) \
    error(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, 906) \
    error(CUDA_ERROR_CAPTURED_EVENT, 907)       \
    error(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, 908) \
    error(CUDA_ERROR_UNKNOWN, 999)

#define CUDA_ERROR_ENUMERATOR(name, number) name = number,
enum CUresult { CUDA_ERRORS(CUDA_ERROR_ENUMERATOR) };
#undef CUDA_ERROR_ENUMERATOR

enum CaptureMode { CAPTURE_GLOBAL = 0, CAPTURE_THREAD_LOCAL = 1, CAPTURE_RELAXED = 2 };
enum CaptureStatus { CAPTURE_NONE = 0, CAPTURE_ACTIVE = 1, CAPTURE_INVALIDATED = 2 };

enum FunctionAttribute {
    FUNCTION_MAX_THREADS_PER_BLOCK = 0,
    FUNCTION_SHARED_SIZE_BYTES = 1,
    FUNCTION_CONST_SIZE_BYTES = 2,
    FUNCTION_LOCAL_SIZE_BYTES = 3,
    FUNCTION_REGISTERS = 4,
    FUNCTION_PTX_VERSION = 5,
    FUNCTION_BINARY_VERSION = 6,
    FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
    FUNCTION_PREFERRED_SHARED_MEMORY_CARVEOUT = 9,
};
