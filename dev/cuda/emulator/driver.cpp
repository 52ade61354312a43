// Initialisation, devices, contexts, modules, functions and errors of the emulated driver.
#include "driver.h"
#include "memory.h"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace emulator {

Settings settings;
Driver& driver = *new Driver;  // never destroyed: other threads may call while the process exits
thread_local CUcontext current_context;

static void read_number(const char* name, long& value) {
    const char* text = getenv(name);
    if (!text || !*text) return;
    char* end;
    long number = strtol(text, &end, 10);
    if (*end) {
        fprintf(stderr, "CUDA emulator: %s=%s is not a number\n", name, text);
        abort();
    }
    value = number;
}

void read_settings() {
    long devices = 1, memory = 4l << 30, version = 13000, compute = 90, lose_after = -1, trace = 0, lazy = 1;
    long reverse = 0;
    read_number("MENO_EMULATOR_DEVICES", devices);
    read_number("MENO_EMULATOR_MEMORY", memory);
    read_number("MENO_EMULATOR_DRIVER", version);
    read_number("MENO_EMULATOR_COMPUTE", compute);
    read_number("MENO_EMULATOR_LOSE_AFTER", lose_after);
    read_number("MENO_EMULATOR_TRACE", trace);
    read_number("MENO_EMULATOR_LAZY", lazy);
    read_number("MENO_EMULATOR_REVERSE", reverse);
    settings = {int(devices), size_t(memory), int(version), int(compute), lose_after, trace != 0, reverse != 0,
                lazy != 0, lazy > 1};
}

CUresult refuse(CUresult error, const char* format, ...) {
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fprintf(stderr, "CUDA emulator: %s\n", message);
    return error;
}

Device& current_device() { return driver.devices[size_t(current_context->device)]; }

static bool forbids_synchronous_calls(const Capture& capture) {
    if (capture.mode == CAPTURE_GLOBAL) return true;
    return capture.mode == CAPTURE_THREAD_LOCAL && pthread_equal(capture.thread, pthread_self());
}

Call::Call(const char* function, Need need) : guard(driver.lock) {
    if ((need & INITIALISED) && !driver.initialised) {
        error_ = CUDA_ERROR_NOT_INITIALIZED;
    } else if ((need & CONTEXT) == CONTEXT && driver.lost) {
        error_ = CUDA_ERROR_LAUNCH_FAILED;
    } else if ((need & CONTEXT) == CONTEXT && !current_context) {
        error_ = refuse(CUDA_ERROR_INVALID_CONTEXT, "%s: this thread has no current context", function);
    } else if (need == NO_CAPTURE) {
        for (Capture* capture : driver.captures) {
            if (!forbids_synchronous_calls(*capture)) continue;
            capture->invalidated = true;
            error_ = refuse(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "%s is not allowed during a capture", function);
        }
    }
}

}  // namespace emulator

using namespace emulator;

EXPORT CUresult cuInit(unsigned flags) {
    BEGIN_CALL(NOTHING);
    if (flags) return CUDA_ERROR_INVALID_VALUE;
    if (driver.initialised) return CUDA_SUCCESS;
    read_settings();
    if (settings.devices <= 0) return CUDA_ERROR_NO_DEVICE;
    driver.devices.resize(size_t(settings.devices));
    for (int i = 0; i < settings.devices; i++) driver.devices[size_t(i)].context.device = i;
    install_fault_handler();
    driver.initialised = true;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDriverGetVersion(int* version) {
    if (!version) return CUDA_ERROR_INVALID_VALUE;
    if (!driver.initialised) read_settings();
    *version = settings.driver;
    return CUDA_SUCCESS;
}

// ---- devices

static bool is_device(int device) { return device >= 0 && size_t(device) < driver.devices.size(); }

EXPORT CUresult cuDeviceGetCount(int* count) {
    BEGIN_CALL(INITIALISED);
    if (!count) return CUDA_ERROR_INVALID_VALUE;
    *count = int(driver.devices.size());
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    BEGIN_CALL(INITIALISED);
    if (!device) return CUDA_ERROR_INVALID_VALUE;
    if (!is_device(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetName(char* name, int length, CUdevice device) {
    BEGIN_CALL(INITIALISED);
    if (!name || length <= 0) return CUDA_ERROR_INVALID_VALUE;
    if (!is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    snprintf(name, size_t(length), "Meno CUDA emulator");
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
    BEGIN_CALL(INITIALISED);
    if (!uuid) return CUDA_ERROR_INVALID_VALUE;
    if (!is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    memset(uuid, 0, sizeof *uuid);
    memcpy(uuid->bytes, "meno-emulator", 13);
    uuid->bytes[15] = char(device);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice device) { return cuDeviceGetUuid_v2(uuid, device); }

EXPORT CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice device) {
    BEGIN_CALL(INITIALISED);
    if (!bytes) return CUDA_ERROR_INVALID_VALUE;
    if (!is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    *bytes = settings.memory;
    return CUDA_SUCCESS;
}

// The values of an H100 SXM; attributes that are not listed are 0.
static int attribute_value(int attribute, int device) {
    switch (attribute) {
        case 1: return 1024;                      // threads of a block
        case 2: case 3: return 1024;              // block x, y
        case 4: return 64;                        // block z
        case 5: return 2147483647;                // grid x
        case 6: case 7: return 65535;             // grid y, z
        case 8: return 48 * 1024;                 // shared memory of a block without opting in
        case 9: return 65536;                     // constant memory
        case 10: return 32;                       // warp size
        case 11: return 2147483647;               // pitch
        case 12: case 82: return 65536;           // registers of a block, of a multiprocessor
        case 13: return 1980000;                  // clock in kHz
        case 14: return 512;                      // texture alignment
        case 16: return 132;                      // multiprocessors
        case 19: case 41: return 1;               // host mappings, unified addressing
        case 31: return 1;                        // concurrent kernels
        case 32: return 1;                        // ECC
        case 33: return device + 1;               // PCI bus
        case 36: return 2619000;                  // memory clock in kHz
        case 37: return 5120;                     // memory bus in bits
        case 38: return 52428800;                 // second-level cache
        case 39: return 2048;                     // threads of a multiprocessor
        case 40: return 3;                        // copy engines
        case 75: return settings.compute / 10;    // compute capability
        case 76: return settings.compute % 10;
        case 78: return 1;                        // stream priorities
        case 79: case 80: return 1;               // first-level caches
        case 81: return 233472;                   // shared memory of a multiprocessor
        case 83: case 89: return 0;               // managed memory
        case 87: return 2;                        // ratio of f32 to f64
        case 90: return 1;                        // preemption
        case 95: return 1;                        // cooperative launches
        case 97:  // shared memory of a block
            if (settings.compute == 75) return 65536;
            if (settings.compute == 80 || settings.compute == 87) return 166912;
            return settings.compute == 86 || settings.compute == 89 || settings.compute >= 120 ? 101376
                                                                                           : int(MAX_SHARED_MEMORY);
        case 102: return 1;                       // virtual memory management
        case 106: return 32;                      // blocks of a multiprocessor
        case 111: return 1024;                    // shared memory reserved in each block
        case 115: return 1;                       // memory pools
        case 120: return settings.compute >= 90;  // clusters
        case 127: return settings.compute >= 90;  // tensor maps
        default: return 0;
    }
}

EXPORT CUresult cuDeviceGetAttribute(int* value, int attribute, CUdevice device) {
    BEGIN_CALL(INITIALISED);
    if (!value || attribute <= 0) return CUDA_ERROR_INVALID_VALUE;
    if (!is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    *value = attribute_value(attribute, device);
    return CUDA_SUCCESS;
}

// ---- contexts

EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
    BEGIN_CALL(INITIALISED);
    if (!context) return CUDA_ERROR_INVALID_VALUE;
    if (!is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    Device& card = driver.devices[size_t(device)];
    card.retained++;
    *context = &card.context;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    BEGIN_CALL(INITIALISED);
    if (!is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    Device& card = driver.devices[size_t(device)];
    if (card.retained == 0)
        return refuse(CUDA_ERROR_INVALID_CONTEXT, "cuDevicePrimaryCtxRelease: the context is not retained");
    card.retained--;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
    BEGIN_CALL(INITIALISED);
    if (!flags || !active) return CUDA_ERROR_INVALID_VALUE;
    if (!is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    *flags = 0;
    *active = driver.devices[size_t(device)].retained > 0;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
    BEGIN_CALL(INITIALISED);
    if (context) {
        bool known = false;
        for (Device& card : driver.devices) known |= context == &card.context && card.retained > 0;
        if (!known) return refuse(CUDA_ERROR_INVALID_CONTEXT, "cuCtxSetCurrent: %p is no context", (void*)context);
    }
    current_context = context;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxGetCurrent(CUcontext* context) {
    BEGIN_CALL(INITIALISED);
    if (!context) return CUDA_ERROR_INVALID_VALUE;
    *context = current_context;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxGetDevice(CUdevice* device) {
    BEGIN_CALL(CONTEXT);
    if (!device) return CUDA_ERROR_INVALID_VALUE;
    *device = current_context->device;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxSynchronize() {
    BEGIN_CALL(NO_CAPTURE);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    BEGIN_CALL(CONTEXT);
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxSetFlags(unsigned) {
    BEGIN_CALL(CONTEXT);
    return CUDA_SUCCESS;
}

// ---- modules and functions

EXPORT CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    BEGIN_CALL(CONTEXT);
    if (!module || !image) return CUDA_ERROR_INVALID_VALUE;
    *module = new CUmod_st{current_context->device, {}};
    driver.modules.insert(*module);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned, int*, void**) {
    return cuModuleLoadData(module, image);
}

EXPORT CUresult cuModuleLoadFatBinary(CUmodule* module, const void* image) { return cuModuleLoadData(module, image); }

EXPORT CUresult cuModuleLoad(CUmodule* module, const char* path) { return cuModuleLoadData(module, path); }

EXPORT CUresult cuModuleUnload(CUmodule module) {
    BEGIN_CALL(CONTEXT);
    if (!driver.modules.count(module)) return CUDA_ERROR_INVALID_HANDLE;
    for (CUfunction function : module->functions) {
        driver.functions.erase(function);
        delete function;
    }
    driver.modules.erase(module);
    delete module;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    BEGIN_CALL(CONTEXT);
    if (!function || !name) return CUDA_ERROR_INVALID_VALUE;
    if (!driver.modules.count(module)) return CUDA_ERROR_INVALID_HANDLE;
    for (CUfunction known : module->functions)
        if (strcmp(known->kernel->name, name) == 0) {
            *function = known;
            return CUDA_SUCCESS;
        }
    const Kernel* kernel = find_kernel(name);
    if (!kernel) return refuse(CUDA_ERROR_NOT_FOUND, "cuModuleGetFunction: there is no kernel %s", name);
    *function = new CUfunc_st{kernel, module};
    module->functions.push_back(*function);
    driver.functions.insert(*function);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleGetGlobal_v2(CUdeviceptr*, size_t*, CUmodule module, const char* name) {
    BEGIN_CALL(CONTEXT);
    if (!driver.modules.count(module)) return CUDA_ERROR_INVALID_HANDLE;
    return refuse(CUDA_ERROR_NOT_FOUND, "cuModuleGetGlobal: the emulator knows no device variables (%s)", name);
}

EXPORT CUresult cuFuncGetAttribute(int* value, int attribute, CUfunction function) {
    BEGIN_CALL(CONTEXT);
    if (!value) return CUDA_ERROR_INVALID_VALUE;
    if (!driver.functions.count(function)) return CUDA_ERROR_INVALID_HANDLE;
    switch (attribute) {
        case FUNCTION_MAX_THREADS_PER_BLOCK: *value = function->kernel->max_threads; break;
        case FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = function->max_dynamic_shared; break;
        case FUNCTION_REGISTERS: *value = 32; break;
        case FUNCTION_PTX_VERSION: case FUNCTION_BINARY_VERSION: *value = settings.compute; break;
        default: *value = 0;
    }
    return CUDA_SUCCESS;
}

EXPORT CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) {
    BEGIN_CALL(CONTEXT);
    if (!driver.functions.count(function)) return CUDA_ERROR_INVALID_HANDLE;
    if (attribute == FUNCTION_PREFERRED_SHARED_MEMORY_CARVEOUT) return CUDA_SUCCESS;
    if (attribute != FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_ERROR_INVALID_VALUE;
    int limit = attribute_value(97, function->module->device);
    if (value < 0 || value > limit)
        return refuse(CUDA_ERROR_INVALID_VALUE, "%s: %d bytes of shared memory, the limit is %d",
                      function->kernel->name, value, limit);
    function->max_dynamic_shared = value;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuFuncSetCacheConfig(CUfunction function, int) {
    BEGIN_CALL(CONTEXT);
    return driver.functions.count(function) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

EXPORT CUresult cuFuncGetName(const char** name, CUfunction function) {
    BEGIN_CALL(CONTEXT);
    if (!name) return CUDA_ERROR_INVALID_VALUE;
    if (!driver.functions.count(function)) return CUDA_ERROR_INVALID_HANDLE;
    *name = function->kernel->name;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t* offset, size_t* size) {
    BEGIN_CALL(CONTEXT);
    if (!offset) return CUDA_ERROR_INVALID_VALUE;
    if (!driver.functions.count(function)) return CUDA_ERROR_INVALID_HANDLE;
    const Kernel& kernel = *function->kernel;
    if (index >= size_t(kernel.parameter_count)) return CUDA_ERROR_INVALID_VALUE;
    size_t position = 0;
    for (size_t i = 0; i <= index; i++) {
        size_t alignment = kernel.parameter_alignment[i];
        position = (position + alignment - 1) / alignment * alignment;
        if (i < index) position += kernel.parameter_size[i];
    }
    *offset = position;
    if (size) *size = kernel.parameter_size[index];
    return CUDA_SUCCESS;
}

EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction function, int threads,
                                                            size_t shared) {
    BEGIN_CALL(CONTEXT);
    if (!blocks || threads <= 0) return CUDA_ERROR_INVALID_VALUE;
    if (!driver.functions.count(function)) return CUDA_ERROR_INVALID_HANDLE;
    int by_threads = 2048 / threads;
    int by_shared = int(233472 / (shared + 1024));
    int result = by_threads < by_shared ? by_threads : by_shared;
    *blocks = result < 32 ? result : 32;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, CUfunction function, int threads,
                                                                     size_t shared, unsigned) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, threads, shared);
}

// ---- errors

struct ErrorName {
    CUresult error;
    const char* name;
};

#define CUDA_ERROR_NAME(name, number) {name, #name},
static const ErrorName error_names[] = {CUDA_ERRORS(CUDA_ERROR_NAME)};
#undef CUDA_ERROR_NAME

EXPORT CUresult cuGetErrorName(CUresult error, const char** name) {
    if (!name) return CUDA_ERROR_INVALID_VALUE;
    *name = nullptr;
    for (const ErrorName& entry : error_names)
        if (entry.error == error) *name = entry.name;
    return *name ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// The real driver has sentences; "out of memory" and the like are what callers may look for.
EXPORT CUresult cuGetErrorString(CUresult error, const char** text) {
    if (!text) return CUDA_ERROR_INVALID_VALUE;
    switch (error) {
        case CUDA_SUCCESS: *text = "no error"; return CUDA_SUCCESS;
        case CUDA_ERROR_INVALID_VALUE: *text = "invalid argument"; return CUDA_SUCCESS;
        case CUDA_ERROR_OUT_OF_MEMORY: *text = "out of memory"; return CUDA_SUCCESS;
        case CUDA_ERROR_NOT_INITIALIZED: *text = "initialization error"; return CUDA_SUCCESS;
        case CUDA_ERROR_NO_DEVICE: *text = "no CUDA-capable device is detected"; return CUDA_SUCCESS;
        case CUDA_ERROR_INVALID_DEVICE: *text = "invalid device ordinal"; return CUDA_SUCCESS;
        case CUDA_ERROR_INVALID_CONTEXT: *text = "invalid device context"; return CUDA_SUCCESS;
        case CUDA_ERROR_NOT_FOUND: *text = "named symbol not found"; return CUDA_SUCCESS;
        case CUDA_ERROR_LAUNCH_FAILED: *text = "unspecified launch failure"; return CUDA_SUCCESS;
        case CUDA_ERROR_INVALID_HANDLE: *text = "invalid resource handle"; return CUDA_SUCCESS;
        default: return cuGetErrorName(error, text);
    }
}
