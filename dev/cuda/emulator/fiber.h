// Fibers: a separate stack for each thread of a block, and a switch between them that costs a few instructions.
#pragma once
#include <cstddef>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulator {

struct Fiber {
#if defined(__x86_64__)
    void* stack_pointer = nullptr;
#else
    ucontext_t context;
#endif
};

// A fiber that runs `entry` (which never returns) once somebody switches to it. `number` staggers the stacks, so that
// they do not all fall into the same cache sets.
Fiber* create_fiber(void (*entry)(), int number);

// Saves the running fiber in `from` and continues `to`.
void switch_fiber(Fiber* from, Fiber* to);

// True when the address lies in the guard page below a fiber's stack.
bool is_stack_guard(const void* address);

}  // namespace emulator
