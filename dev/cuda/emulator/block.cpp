// Runs the blocks of a grid: starts threads, switches between those that can go on, reports deadlocks.
#include "block.h"
#include "fiber.h"
#include "settings.h"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <pthread.h>
#include <vector>

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace emulator {

// Bytes behind the dynamic shared memory of a block that must keep their value.
constexpr size_t SHARED_GUARD = 1024;

int current_thread;
alignas(1024) unsigned char shared_memory[MAX_SHARED_MEMORY + SHARED_GUARD];

namespace {

struct Thread {
    Fiber* fiber;
    uint3 index;
    bool running;           // has started and has not returned
    const char* operation;  // what it waits for, or null
    Site site;
};

// Threads in the order in which they may go on.
struct ReadyQueue {
    int entries[MAX_THREADS];
    unsigned head, tail;
    bool empty() const { return head == tail; }
    void push(int thread) { entries[tail++ % MAX_THREADS] = thread; }
    int pop() { return entries[head++ % MAX_THREADS]; }
};

struct Barrier {
    int expected;
    int arrived;
    int waiting_count;
    int waiting[MAX_THREADS];
};

// Lanes of a warp that have begun an operation together.
struct WarpOperation {
    unsigned mask;
    unsigned arrived;
    unsigned waiting;
    Resolve resolve;
    const char* name;
    void* operands[WARP];
};

struct Warp {
    unsigned exited;  // lanes that have returned or never existed
    int open_count;
    WarpOperation open[WARP];
};

Launch launch;
Thread threads[MAX_THREADS];
int thread_count;  // in a block
int next_thread;   // how many have started
int alive;         // threads that have not returned, including those not started
ReadyQueue ready;
Barrier barriers[16];
Warp warps[MAX_THREADS / WARP];
Fiber main_fiber;
std::vector<Fiber*> free_fibers;
int fiber_count;
bool running;
pthread_t runner;
Model models[8];
int model_count;

Fiber* new_fiber;  // the fiber that starts for the first time, for fiber_main

void fiber_main();

Fiber* take_fiber() {
    if (free_fibers.empty()) return new_fiber = create_fiber(fiber_main, fiber_count++);
    Fiber* fiber = free_fibers.back();
    free_fibers.pop_back();
    return fiber;
}

const char* base_name(const char* path) {
    const char* slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool waits_alike(const Thread& a, const Thread& b) {
    return a.running == b.running && a.operation == b.operation && a.site.line == b.site.line;
}

// Prints which threads wait for what, neighbours with the same place in one line.
[[noreturn]] void report_deadlock() {
    fprintf(stderr, "CUDA emulator: deadlock in kernel %s, block (%u,%u,%u) of %d threads:\n", launch.kernel->name,
            blockIdx.x, blockIdx.y, blockIdx.z, thread_count);
    for (int first = 0; first < thread_count;) {
        int last = first;
        while (last + 1 < thread_count && waits_alike(threads[first], threads[last + 1])) last++;
        const Thread& thread = threads[first];
        if (first == last)
            fprintf(stderr, "  thread %d ", first);
        else
            fprintf(stderr, "  threads %d to %d ", first, last);
        const char* ending = first == last ? "s" : "";
        if (!thread.running)
            fprintf(stderr, "%s returned\n", first == last ? "has" : "have");
        else
            fprintf(stderr, "wait%s in %s at %s:%d\n", ending, thread.operation, base_name(thread.site.file),
                    thread.site.line);
        first = last + 1;
    }
    abort();
}

// Lets a model do work that it has postponed, such as a copy that threads wait for.
bool do_postponed_work() {
    for (int i = 0; i < model_count; i++)
        if (models[i].idle && models[i].idle()) return true;
    return false;
}

// Leaves the running fiber for a thread that can go on, or for one that has not started.
void leave(Fiber* from) {
    Fiber* to;
    while (ready.empty() && next_thread == thread_count && alive > 0)
        if (!do_postponed_work()) report_deadlock();
    if (!ready.empty())
        to = threads[ready.pop()].fiber;
    else if (next_thread < thread_count)
        to = take_fiber();
    else
        to = &main_fiber;
    if (to != from) switch_fiber(from, to);
}

void release_barrier(Barrier& barrier) {
    for (int i = 0; i < barrier.waiting_count; i++) wake(barrier.waiting[i]);
    barrier.arrived = 0;
    barrier.waiting_count = 0;
}

void release_barrier_if_complete(Barrier& barrier) {
    int expected = barrier.expected ? barrier.expected : alive;
    if (barrier.arrived > 0 && barrier.arrived >= expected) release_barrier(barrier);
}

// Lets the lanes of a complete operation go on. Returns whether it was complete.
bool finish_if_complete(Warp& warp, int warp_number, WarpOperation& operation) {
    if ((operation.mask & ~(operation.arrived | warp.exited)) != 0) return false;
    operation.resolve(operation.operands);
    for (unsigned lanes = operation.waiting; lanes; lanes &= lanes - 1)
        wake(warp_number * WARP + __builtin_ctz(lanes));
    WarpOperation& last = warp.open[--warp.open_count];
    if (&operation != &last) operation = last;
    return true;
}

void thread_returned() {
    int number = current_thread;
    threads[number].running = false;
    alive--;
    Warp& warp = warps[number / WARP];
    warp.exited |= 1u << (number % WARP);
    for (int i = warp.open_count - 1; i >= 0; i--) finish_if_complete(warp, number / WARP, warp.open[i]);
    if (barriers[0].arrived) release_barrier_if_complete(barriers[0]);
}

uint3 index_of(int number) {
    if (unsigned(number) < blockDim.x) return {unsigned(number), 0, 0};
    unsigned row = unsigned(number) / blockDim.x;
    return {unsigned(number) % blockDim.x, row % blockDim.y, row / blockDim.y};
}

void run_thread(int number, Fiber* fiber) {
    Thread& thread = threads[number];
    thread.fiber = fiber;
    thread.index = index_of(number);
    thread.running = true;
    thread.operation = nullptr;
    current_thread = number;
    threadIdx = thread.index;
    launch.kernel->call(launch.arguments);
    thread_returned();
}

// A fiber runs one thread after the other; threads that never wait share one fiber and cost no switch.
void fiber_main() {
    Fiber* self = new_fiber;
    for (;;) {
        while (ready.empty() && next_thread < thread_count) {
            int started = next_thread++;
            run_thread(settings.reverse ? thread_count - 1 - started : started, self);
        }
        free_fibers.push_back(self);
        leave(self);
    }
}

void prepare_block() {
    memset(shared_memory, 0xFF, launch.shared_memory + SHARED_GUARD);
    next_thread = 0;
    alive = thread_count;
    ready.head = ready.tail = 0;
    for (Barrier& barrier : barriers) barrier.expected = barrier.arrived = barrier.waiting_count = 0;
    for (int w = 0; w * WARP < thread_count; w++) {
        int lanes = thread_count - w * WARP;
        warps[w].exited = lanes < WARP ? ~0u << lanes : 0;
        warps[w].open_count = 0;
    }
    for (int i = 0; i < model_count; i++)
        if (models[i].block_start) models[i].block_start();
}

void check_shared_guard() {
    const unsigned char* guard = shared_memory + launch.shared_memory;
    for (size_t i = 0; i < SHARED_GUARD; i++)
        if (guard[i] != 0xFF)
            kernel_error("a write %zu bytes past the end of %zu bytes of dynamic shared memory", i,
                         launch.shared_memory);
}

void run_block() {
    prepare_block();
    leave(&main_fiber);
    for (int i = 0; i < model_count; i++)
        if (models[i].block_end) models[i].block_end();
    check_shared_guard();
}

}  // namespace

void wait(const char* operation, Site site) {
    int number = current_thread;
    Thread& thread = threads[number];
    thread.operation = operation;
    thread.site = site;
    leave(thread.fiber);
    thread.operation = nullptr;
    current_thread = number;
    threadIdx = thread.index;
}

void wake(int thread) { ready.push(thread); }

void block_barrier(int id, int expected, bool wait_here, const char* operation, Site site) {
    if (id < 0 || id > 15) kernel_error("barrier %d does not exist (0 to 15)", id);
    Barrier& barrier = barriers[id];
    if (barrier.arrived > 0 && barrier.expected != expected)
        kernel_error("barrier %d is used for %d and for %d threads at once", id, barrier.expected, expected);
    barrier.expected = expected;
    barrier.arrived++;
    if (barrier.arrived >= (expected ? expected : alive)) return release_barrier(barrier);
    if (!wait_here) return;
    barrier.waiting[barrier.waiting_count++] = current_thread;
    wait(operation, site);
}

// Finds the operation that other lanes have begun with the same mask, or begins a new one.
static WarpOperation& join_operation(Warp& warp, unsigned mask, Resolve resolve, const char* name) {
    for (int i = 0; i < warp.open_count; i++) {
        WarpOperation& operation = warp.open[i];
        if (operation.mask == mask) {
            if (operation.resolve != resolve)
                kernel_error("%s meets %s of other lanes of its warp", name, operation.name);
            return operation;
        }
        if (operation.mask & mask)
            kernel_error("%s with mask %08x, but other lanes are in %s with mask %08x", name, mask, operation.name,
                         operation.mask);
    }
    WarpOperation& operation = warp.open[warp.open_count++];
    operation.mask = mask;
    operation.arrived = operation.waiting = 0;
    operation.resolve = resolve;
    operation.name = name;
    memset(operation.operands, 0, sizeof operation.operands);
    return operation;
}

void warp_operation(unsigned mask, void* operands, Resolve resolve, const char* name, Site site) {
    int lane = current_thread % WARP;
    Warp& warp = warps[current_thread / WARP];
    if (!(mask >> lane & 1)) kernel_error("%s with mask %08x, which lacks the lane itself (%d)", name, mask, lane);
    WarpOperation& operation = join_operation(warp, mask, resolve, name);
    operation.operands[lane] = operands;
    operation.arrived |= 1u << lane;
    if (finish_if_complete(warp, current_thread / WARP, operation)) return;
    operation.waiting |= 1u << lane;
    wait(name, site);
}

RegisterModel::RegisterModel(const Model& model) {
    if (model_count == 8) abort();
    models[model_count++] = model;
}

size_t shared_memory_size() { return launch.shared_memory; }

void run_grid(const Launch& wanted) {
    launch = wanted;
    gridDim = wanted.grid;
    blockDim = wanted.block;
    thread_count = int(wanted.block.x * wanted.block.y * wanted.block.z);
    runner = pthread_self();
    running = true;
    const dim3& grid = wanted.grid;
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                blockIdx = {x, y, z};
                if (settings.reverse) blockIdx = {grid.x - 1 - x, grid.y - 1 - y, grid.z - 1 - z};
                run_block();
            }
    running = false;
}

bool inside_kernel() { return running && pthread_equal(runner, pthread_self()); }

void describe_position(char* text, size_t size) {
    snprintf(text, size, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u)", launch.kernel->name, blockIdx.x, blockIdx.y,
             blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
}

void kernel_error(const char* format, ...) {
    char message[512], position[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    describe_position(position, sizeof position);
    fprintf(stderr, "CUDA emulator: %s: %s\n", position, message);
    abort();
}

static Kernel* first_kernel;

void register_kernel(Kernel* kernel) {
    kernel->next = first_kernel;
    first_kernel = kernel;
}

const Kernel* find_kernel(const char* name) {
    for (const Kernel* kernel = first_kernel; kernel; kernel = kernel->next)
        if (strcmp(kernel->name, name) == 0) return kernel;
    return nullptr;
}

}  // namespace emulator
