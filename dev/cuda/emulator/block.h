// One block of threads: the emulator runs the blocks of a grid one after the other and every thread of a block as a
// fiber, so a thread can wait in the middle of a kernel.
#pragma once
#include "vector_types.h"
#include <cstddef>
#include <utility>

namespace emulator {

constexpr int MAX_THREADS = 1024;
constexpr int WARP = 32;
constexpr size_t MAX_SHARED_MEMORY = 232448;

// The place in a kernel that waits, for reports of deadlocks.
struct Site {
    const char* file;
    int line;
};
// The last parameters of an instruction that may wait: the place of the call. EMULATOR_HERE is the value inside.
#define EMULATOR_SITE const char *emulator_file = __builtin_FILE(), int emulator_line = __builtin_LINE()
#define EMULATOR_HERE (emulator::Site{emulator_file, emulator_line})

// A kernel as the generated registration describes it.
struct Kernel {
    const char* name;
    int max_threads;                 // its launch bound
    int parameter_count;
    const size_t* parameter_size;
    const size_t* parameter_alignment;
    void (*call)(void** arguments);  // runs one thread
    Kernel* next;                    // the list of all kernels
};

struct Launch {
    const Kernel* kernel;
    dim3 grid;
    dim3 block;
    size_t shared_memory;  // bytes of dynamic shared memory
    void** arguments;
};

// Runs a whole grid. Aborts the process with a report when threads wait for something that cannot happen.
void run_grid(const Launch& launch);

// Describes the running thread ("kernel k, block (0,0,0), thread (5,0,0)"), for reports.
void describe_position(char* text, size_t size);
// True on the thread of the operating system that runs a kernel at this moment.
bool inside_kernel();
// Prints the message with the position and aborts.
[[noreturn]] void kernel_error(const char* format, ...) __attribute__((format(printf, 1, 2)));

// ---- for the models of waiting instructions

extern int current_thread;               // number of the running thread in its block
extern unsigned char shared_memory[];    // dynamic shared memory, 1024-byte aligned
size_t shared_memory_size();

// Blocks the running thread until another thread calls wake() for it.
void wait(const char* operation, Site site);
void wake(int thread);

// A barrier for `expected` threads (0: all threads of the block that have not returned).
void block_barrier(int id, int expected, bool wait_here, const char* operation, Site site);

// An operation of several lanes of a warp. Each lane brings a pointer to its operands and results; the last lane to
// arrive calls `resolve`, which sees null pointers for lanes that take no part or have returned.
typedef void (*Resolve)(void* const* operands);
void warp_operation(unsigned mask, void* operands, Resolve resolve, const char* operation, Site site);

// A model of instructions with a state of its own. Each function may be null.
struct Model {
    void (*block_start)();
    void (*block_end)();
    bool (*idle)();  // when no thread can go on: does postponed work and returns whether there was any
};
struct RegisterModel {
    explicit RegisterModel(const Model& model);
};

// ---- registration

void register_kernel(Kernel* kernel);
const Kernel* find_kernel(const char* name);

template <class... Parameters> struct Signature {
    static constexpr size_t size[sizeof...(Parameters) + 1] = {sizeof(Parameters)..., 0};
    static constexpr size_t alignment[sizeof...(Parameters) + 1] = {alignof(Parameters)..., 0};
};

template <auto function> struct Caller;
template <class... Parameters, void (*function)(Parameters...)> struct Caller<function> {
    template <size_t... index> static void call_with(void** arguments, std::index_sequence<index...>) {
        function(*static_cast<Parameters*>(arguments[index])...);
    }
    static void call(void** arguments) { call_with(arguments, std::index_sequence_for<Parameters...>()); }

    Kernel kernel;
    Caller(const char* name, int max_threads)
        : kernel{name, max_threads, int(sizeof...(Parameters)), Signature<Parameters...>::size,
                 Signature<Parameters...>::alignment, call, nullptr} {
        register_kernel(&kernel);
    }
};

}  // namespace emulator

#define EMULATOR_REGISTER(threads, name) static emulator::Caller<&name> register_##name(#name, threads);
