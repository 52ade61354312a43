// The state of the emulated driver, shared by the files that export its functions.
#pragma once
#include "block.h"
#include "cuda_types.h"
#include "settings.h"
#include <functional>
#include <mutex>
#include <pthread.h>
#include <set>
#include <vector>

struct CUctx_st {
    int device;
};

struct CUmod_st {
    int device;
    std::vector<CUfunction> functions;
};

struct CUfunc_st {
    const emulator::Kernel* kernel;
    CUmodule module;
    int max_dynamic_shared = 48 * 1024;
};

// Work recorded by a capture, in the order of the calls.
struct CUgraph_st {
    std::vector<std::function<CUresult()>> nodes;
};

struct CUgraphExec_st {
    std::vector<std::function<CUresult()>> nodes;
};

struct Capture {
    CUgraph graph;
    CUstream origin;
    int mode;
    pthread_t thread;
    bool invalidated = false;
};

struct CUstream_st {
    int device;
    Capture* capture = nullptr;
};

struct CUevent_st {
    int device;
    bool recorded = false;
    bool timed = true;
    double time = 0;
    Capture* capture = nullptr;  // when it was recorded in a stream that was being captured
};

namespace emulator {

struct Device {
    CUctx_st context;
    int retained = 0;
    size_t used = 0;  // bytes of memory
};

struct Driver {
    std::recursive_mutex lock;
    bool initialised = false;
    bool lost = false;
    long launches = 0;
    std::vector<Device> devices;
    std::set<CUmodule> modules;
    std::set<CUfunction> functions;
    std::set<CUstream> streams;
    std::set<CUevent> events;
    std::set<CUgraph> graphs;
    std::set<CUgraphExec> executables;
    std::vector<Capture*> captures;
};

extern Driver& driver;
extern thread_local CUcontext current_context;

Device& current_device();

enum Need {
    NOTHING = 0,
    INITIALISED = 1,
    CONTEXT = 3,           // includes INITIALISED
    NO_CAPTURE = 7,        // a context, and no capture that forbids synchronous calls
};

// Every exported function begins with one of these: it holds the lock and makes the checks all functions share.
class Call {
  public:
    Call(const char* function, Need need);
    bool refused() const { return error_ != CUDA_SUCCESS; }
    CUresult error() const { return error_; }

  private:
    std::lock_guard<std::recursive_mutex> guard;
    CUresult error_ = CUDA_SUCCESS;
};

#define BEGIN_CALL(need)               \
    emulator::Call call(__func__, need); \
    if (call.refused()) return call.error()

// Says on stderr why a call is refused, and returns the error.
CUresult refuse(CUresult error, const char* format, ...) __attribute__((format(printf, 2, 3)));

// True for the default streams (null and two constants), which have no object.
bool is_default_stream(CUstream stream);

// Runs the work at once, or records it when the stream is being captured.
CUresult submit(const char* function, CUstream stream, std::function<CUresult()> work);

}  // namespace emulator
