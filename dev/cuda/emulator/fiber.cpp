#include "fiber.h"
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <vector>

namespace emulator {

constexpr size_t STACK = 128 * 1024;
constexpr size_t GUARD = 64 * 1024;  // more than the largest frame of a kernel's function

static std::vector<char*> guards;

static char* allocate_stack() {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* memory = mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) {
        perror("CUDA emulator: cannot allocate the stack of a fiber");
        abort();
    }
    char* bottom = static_cast<char*>(memory);
    mprotect(bottom, GUARD, PROT_NONE);
    guards.push_back(bottom);
    return bottom + GUARD;
}

bool is_stack_guard(const void* address) {
    for (const char* guard : guards)
        if (address >= guard && address < guard + GUARD) return true;
    return false;
}

#if defined(__x86_64__)

// Saves the registers that a C function preserves on the old stack and restores those of the new stack.
extern "C" void meno_switch_stack(void** save, void* load);
asm(R"(
    .text
    .hidden meno_switch_stack
    .globl meno_switch_stack
    .type meno_switch_stack, @function
meno_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size meno_switch_stack, . - meno_switch_stack
)");

Fiber* create_fiber(void (*entry)(), int number) {
    size_t stagger = size_t(number) * 192 % 4096;
    uintptr_t top = (reinterpret_cast<uintptr_t>(allocate_stack()) + STACK - stagger) & ~uintptr_t(63);
    void** stack = reinterpret_cast<void**>(top);
    *--stack = nullptr;  // where `entry` would return to; also keeps the stack aligned as at a call
    *--stack = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; i++) *--stack = nullptr;
    Fiber* fiber = new Fiber;
    fiber->stack_pointer = stack;
    return fiber;
}

void switch_fiber(Fiber* from, Fiber* to) { meno_switch_stack(&from->stack_pointer, to->stack_pointer); }

#else

Fiber* create_fiber(void (*entry)(), int) {
    Fiber* fiber = new Fiber;
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = allocate_stack();
    fiber->context.uc_stack.ss_size = STACK;
    fiber->context.uc_link = nullptr;
    makecontext(&fiber->context, entry, 0);
    return fiber;
}

void switch_fiber(Fiber* from, Fiber* to) { swapcontext(&from->context, &to->context); }

#endif

}  // namespace emulator
