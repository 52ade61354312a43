// Streams, events, captures, graphs and launches of the emulated driver. All work runs at once, inside the call that
// submits it.
#include "driver.h"
#include "memory.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>

using namespace emulator;

namespace emulator {

bool is_default_stream(CUstream stream) { return reinterpret_cast<uintptr_t>(stream) <= 2; }

static bool is_stream(CUstream stream) { return is_default_stream(stream) || driver.streams.count(stream); }

CUresult submit(const char* function, CUstream stream, std::function<CUresult()> work) {
    if (!is_stream(stream)) return refuse(CUDA_ERROR_INVALID_HANDLE, "%s: unknown stream", function);
    if (is_default_stream(stream)) {
        if (!driver.captures.empty() && driver.captures[0]->mode != CAPTURE_RELAXED) {
            for (Capture* capture : driver.captures) capture->invalidated = true;
            return refuse(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "%s on the default stream during a capture", function);
        }
        return work();
    }
    if (stream->device != current_context->device)
        return refuse(CUDA_ERROR_INVALID_HANDLE, "%s: the stream belongs to another device", function);
    if (!stream->capture) return work();
    if (stream->capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    stream->capture->graph->nodes.push_back(std::move(work));
    return CUDA_SUCCESS;
}

}  // namespace emulator

// ---- streams

EXPORT CUresult cuStreamCreate(CUstream* stream, unsigned) {
    BEGIN_CALL(CONTEXT);
    if (!stream) return CUDA_ERROR_INVALID_VALUE;
    *stream = new CUstream_st{current_context->device};
    driver.streams.insert(*stream);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned flags, int) {
    return cuStreamCreate(stream, flags);
}

EXPORT CUresult cuStreamDestroy_v2(CUstream stream) {
    BEGIN_CALL(CONTEXT);
    if (!driver.streams.erase(stream)) return CUDA_ERROR_INVALID_HANDLE;
    delete stream;
    return CUDA_SUCCESS;
}

static CUresult check_idle(const char* function, CUstream stream) {
    if (!is_stream(stream)) return refuse(CUDA_ERROR_INVALID_HANDLE, "%s: unknown stream", function);
    if (is_default_stream(stream) || !stream->capture) return CUDA_SUCCESS;
    stream->capture->invalidated = true;
    return refuse(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "%s: the stream is being captured", function);
}

EXPORT CUresult cuStreamSynchronize(CUstream stream) {
    BEGIN_CALL(CONTEXT);
    return check_idle("cuStreamSynchronize", stream);
}

EXPORT CUresult cuStreamQuery(CUstream stream) {
    BEGIN_CALL(CONTEXT);
    return check_idle("cuStreamQuery", stream);
}

EXPORT CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
    BEGIN_CALL(CONTEXT);
    if (!is_stream(stream) || !driver.events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
    if (is_default_stream(stream) || !event->capture) return CUDA_SUCCESS;
    if (stream->capture && stream->capture != event->capture) return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    stream->capture = event->capture;  // the stream joins the capture
    return CUDA_SUCCESS;
}

// ---- events

static double now_in_milliseconds() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return double(time.tv_sec) * 1e3 + double(time.tv_nsec) * 1e-6;
}

EXPORT CUresult cuEventCreate(CUevent* event, unsigned flags) {
    BEGIN_CALL(CONTEXT);
    if (!event) return CUDA_ERROR_INVALID_VALUE;
    *event = new CUevent_st{current_context->device};
    (*event)->timed = !(flags & 2);
    driver.events.insert(*event);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuEventDestroy_v2(CUevent event) {
    BEGIN_CALL(CONTEXT);
    if (!driver.events.erase(event)) return CUDA_ERROR_INVALID_HANDLE;
    delete event;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuEventRecord(CUevent event, CUstream stream) {
    BEGIN_CALL(CONTEXT);
    if (!driver.events.count(event) || !is_stream(stream)) return CUDA_ERROR_INVALID_HANDLE;
    if (!is_default_stream(stream) && stream->device != event->device)
        return refuse(CUDA_ERROR_INVALID_HANDLE, "cuEventRecord: event and stream belong to different devices");
    event->capture = is_default_stream(stream) ? nullptr : stream->capture;
    if (event->capture) return CUDA_SUCCESS;
    event->recorded = true;
    event->time = now_in_milliseconds();
    return CUDA_SUCCESS;
}

static CUresult check_event(CUevent event) {
    if (!driver.events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
    return event->capture ? CUDA_ERROR_CAPTURED_EVENT : CUDA_SUCCESS;
}

EXPORT CUresult cuEventQuery(CUevent event) {
    BEGIN_CALL(CONTEXT);
    return check_event(event);
}

EXPORT CUresult cuEventSynchronize(CUevent event) {
    BEGIN_CALL(CONTEXT);
    return check_event(event);
}

EXPORT CUresult cuEventElapsedTime_v2(float* milliseconds, CUevent start, CUevent end) {
    BEGIN_CALL(CONTEXT);
    if (!milliseconds) return CUDA_ERROR_INVALID_VALUE;
    if (!driver.events.count(start) || !driver.events.count(end)) return CUDA_ERROR_INVALID_HANDLE;
    if (!start->recorded || !end->recorded || !start->timed || !end->timed) return CUDA_ERROR_INVALID_HANDLE;
    *milliseconds = float(end->time - start->time);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
    return cuEventElapsedTime_v2(milliseconds, start, end);
}

// ---- captures and graphs

EXPORT CUresult cuStreamBeginCapture_v2(CUstream stream, int mode) {
    BEGIN_CALL(CONTEXT);
    if (is_default_stream(stream)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (!driver.streams.count(stream)) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture || mode < 0 || mode > CAPTURE_RELAXED) return CUDA_ERROR_INVALID_VALUE;
    CUgraph graph = new CUgraph_st;
    stream->capture = new Capture{graph, stream, mode, pthread_self()};
    driver.captures.push_back(stream->capture);
    return CUDA_SUCCESS;
}

// Takes streams and events out of a capture that ends.
static void forget_capture(Capture* capture) {
    for (CUstream stream : driver.streams)
        if (stream->capture == capture) stream->capture = nullptr;
    for (CUevent event : driver.events)
        if (event->capture == capture) event->capture = nullptr;
    for (size_t i = 0; i < driver.captures.size(); i++)
        if (driver.captures[i] == capture) driver.captures.erase(driver.captures.begin() + long(i--));
}

EXPORT CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
    BEGIN_CALL(CONTEXT);
    if (!graph) return CUDA_ERROR_INVALID_VALUE;
    *graph = nullptr;
    if (is_default_stream(stream) || !driver.streams.count(stream)) return CUDA_ERROR_INVALID_HANDLE;
    std::unique_ptr<Capture> capture(stream->capture);
    if (!capture) return CUDA_ERROR_INVALID_VALUE;
    if (capture->origin != stream) {
        capture.release();
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    }
    if (capture->mode != CAPTURE_RELAXED && !pthread_equal(capture->thread, pthread_self())) {
        capture.release();
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    }
    forget_capture(capture.get());
    if (capture->invalidated) {
        delete capture->graph;
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    *graph = capture->graph;
    driver.graphs.insert(*graph);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamIsCapturing(CUstream stream, int* status) {
    BEGIN_CALL(CONTEXT);
    if (!status) return CUDA_ERROR_INVALID_VALUE;
    if (!is_stream(stream)) return CUDA_ERROR_INVALID_HANDLE;
    *status = CAPTURE_NONE;
    if (!is_default_stream(stream) && stream->capture)
        *status = stream->capture->invalidated ? CAPTURE_INVALIDATED : CAPTURE_ACTIVE;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph graph, unsigned long long) {
    BEGIN_CALL(CONTEXT);
    if (!executable) return CUDA_ERROR_INVALID_VALUE;
    if (!driver.graphs.count(graph)) return CUDA_ERROR_INVALID_HANDLE;
    *executable = new CUgraphExec_st{graph->nodes};
    driver.executables.insert(*executable);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuGraphUpload(CUgraphExec executable, CUstream stream) {
    BEGIN_CALL(CONTEXT);
    return driver.executables.count(executable) && is_stream(stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

EXPORT CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
    BEGIN_CALL(CONTEXT);
    if (!driver.executables.count(executable)) return CUDA_ERROR_INVALID_HANDLE;
    auto nodes = executable->nodes;
    return submit("cuGraphLaunch", stream, [nodes] {
        for (const auto& node : nodes) {
            CUresult result = node();
            if (result != CUDA_SUCCESS) return result;
        }
        return CUDA_SUCCESS;
    });
}

EXPORT CUresult cuGraphDestroy(CUgraph graph) {
    BEGIN_CALL(CONTEXT);
    if (!driver.graphs.erase(graph)) return CUDA_ERROR_INVALID_HANDLE;
    delete graph;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuGraphExecDestroy(CUgraphExec executable) {
    BEGIN_CALL(CONTEXT);
    if (!driver.executables.erase(executable)) return CUDA_ERROR_INVALID_HANDLE;
    delete executable;
    return CUDA_SUCCESS;
}

// ---- launches

// The arguments of a launch, copied when the launch is recorded.
class ArgumentCopy {
  public:
    ArgumentCopy(const Kernel& kernel, void** arguments) {
        size_t total = 0;
        for (int i = 0; i < kernel.parameter_count; i++) total += kernel.parameter_size[i] + 64;
        storage.resize(total + 64);
        uintptr_t position = reinterpret_cast<uintptr_t>(storage.data());
        for (int i = 0; i < kernel.parameter_count; i++) {
            position = (position + 63) / 64 * 64;
            void* copy = reinterpret_cast<void*>(position);
            memcpy(copy, arguments[i], kernel.parameter_size[i]);
            pointers.push_back(copy);
            position += kernel.parameter_size[i];
        }
    }
    void** data() { return pointers.data(); }

  private:
    std::vector<char> storage;
    std::vector<void*> pointers;
};

static CUresult check_launch(CUfunction function, dim3 grid, dim3 block, unsigned shared) {
    const char* name = function->kernel->name;
    if (!grid.x || !grid.y || !grid.z || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535)
        return refuse(CUDA_ERROR_INVALID_VALUE, "%s: invalid grid (%u,%u,%u)", name, grid.x, grid.y, grid.z);
    unsigned long long threads = (unsigned long long)block.x * block.y * block.z;
    if (!threads || block.x > 1024 || block.y > 1024 || block.z > 64 || threads > 1024)
        return refuse(CUDA_ERROR_INVALID_VALUE, "%s: invalid block (%u,%u,%u)", name, block.x, block.y, block.z);
    if (threads > (unsigned long long)function->kernel->max_threads)
        return refuse(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "%s: %llu threads, but its launch bound is %d", name, threads,
                      function->kernel->max_threads);
    if (shared > unsigned(function->max_dynamic_shared))
        return refuse(CUDA_ERROR_INVALID_VALUE, "%s: %u bytes of dynamic shared memory, but the function allows %d",
                      name, shared, function->max_dynamic_shared);
    if (function->module->device != current_context->device)
        return refuse(CUDA_ERROR_INVALID_HANDLE, "%s: the function belongs to another device", name);
    return CUDA_SUCCESS;
}

static CUresult run_now(const Launch& launch) {
    if (settings.trace)
        fprintf(stderr, "CUDA emulator: launch %s grid (%u,%u,%u) block (%u,%u,%u) shared %zu\n", launch.kernel->name,
                launch.grid.x, launch.grid.y, launch.grid.z, launch.block.x, launch.block.y, launch.block.z,
                launch.shared_memory);
    if (settings.lose_after >= 0 && driver.launches >= settings.lose_after) driver.lost = true;
    if (driver.lost) return CUDA_ERROR_LAUNCH_FAILED;
    driver.launches++;
    prepare_fault_stack();
    run_grid(launch);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                               unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared, CUstream stream,
                               void** arguments, void** extra) {
    BEGIN_CALL(CONTEXT);
    if (!driver.functions.count(function)) return CUDA_ERROR_INVALID_HANDLE;
    dim3 grid(grid_x, grid_y, grid_z), block(block_x, block_y, block_z);
    CUresult result = check_launch(function, grid, block, shared);
    if (result != CUDA_SUCCESS) return result;
    const Kernel& kernel = *function->kernel;
    if (extra) return refuse(CUDA_ERROR_NOT_SUPPORTED, "%s: arguments in a buffer (extra)", kernel.name);
    if (kernel.parameter_count && !arguments)
        return refuse(CUDA_ERROR_INVALID_VALUE, "%s: no arguments, but %d parameters", kernel.name,
                      kernel.parameter_count);
    Launch launch = {&kernel, grid, block, shared, arguments};
    if (is_default_stream(stream) || !driver.streams.count(stream) || !stream->capture)
        return submit(kernel.name, stream, [&launch] { return run_now(launch); });
    auto copy = std::make_shared<ArgumentCopy>(kernel, arguments);
    return submit(kernel.name, stream, [launch, copy]() mutable {
        launch.arguments = copy->data();
        return run_now(launch);
    });
}

EXPORT CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** arguments, void** extra) {
    if (!config) return CUDA_ERROR_INVALID_VALUE;
    return cuLaunchKernel(function, config->gridDimX, config->gridDimY, config->gridDimZ, config->blockDimX,
                          config->blockDimY, config->blockDimZ, config->sharedMemBytes, config->hStream, arguments,
                          extra);
}

EXPORT CUresult cuLaunchHostFunc(CUstream stream, void (*function)(void*), void* data) {
    BEGIN_CALL(CONTEXT);
    if (!function) return CUDA_ERROR_INVALID_VALUE;
    return submit("cuLaunchHostFunc", stream, [=] {
        function(data);
        return CUDA_SUCCESS;
    });
}
