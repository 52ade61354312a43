#include "memory.h"
#include "block.h"
#include "fiber.h"
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

namespace emulator {

namespace {

constexpr size_t PAGE = 4096;
// Freed address ranges that are kept out of use, so that a use after free meets no new allocation.
constexpr size_t QUARANTINE = 512;

struct Allocation {
    size_t bytes;
    char* mapping;  // with a guard page at each end
    size_t mapped;
    int device;
};

struct Range {
    char* start;
    size_t bytes;
};

// Never destroyed: other threads may call while the process exits.
auto& allocations = *new std::map<uintptr_t, Allocation>;
auto& freed = *new std::map<uintptr_t, size_t>;  // for reports: start and size of ranges in quarantine
auto& quarantine = *new std::deque<std::pair<uintptr_t, Range>>;

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

// The allocation with the largest start that is not above the address, or end().
std::map<uintptr_t, Allocation>::iterator allocation_below(uintptr_t address) {
    auto above = allocations.upper_bound(address);
    return above == allocations.begin() ? allocations.end() : --above;
}

// The unused bytes before an allocation share its first page; they must not change.
void check_slack(const Allocation& allocation, const char* start) {
    for (const char* byte = allocation.mapping + PAGE; byte < start; byte++)
        if (static_cast<unsigned char>(*byte) != 0xFF) {
            fprintf(stderr, "CUDA emulator: something wrote %zu bytes before an allocation of %zu bytes\n",
                    size_t(start - byte), allocation.bytes);
            abort();
        }
}

// Large allocations are private mappings of a file of 0xFF instead of a fill: only what is written costs memory.
constexpr size_t PATTERN = 32 << 20;

int pattern_file() {
    static int file = -1;
    if (file >= 0) return file;
    file = memfd_create("meno-emulator-pattern", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, PATTERN) != 0) return file = -1;
    void* contents = mmap(nullptr, PATTERN, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (contents == MAP_FAILED) return file = -1;
    memset(contents, 0xFF, PATTERN);
    munmap(contents, PATTERN);
    return file;
}

// Makes reserved addresses usable, with contents of 0xFF.
bool fill_mapping(char* start, size_t bytes) {
    int file = bytes > PATTERN ? pattern_file() : -1;
    if (file < 0) {
        if (mprotect(start, bytes, PROT_READ | PROT_WRITE) != 0) return false;
        memset(start, 0xFF, bytes);
        return true;
    }
    for (size_t done = 0; done < bytes; done += PATTERN) {
        size_t part = bytes - done < PATTERN ? bytes - done : PATTERN;
        if (mmap(start + done, part, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, 0) ==
            MAP_FAILED)
            return false;
    }
    return true;
}

}  // namespace

void* allocate_global(size_t bytes, int device) {
    size_t used = round_up(bytes, 16);
    size_t mapped = round_up(used, PAGE) + 2 * PAGE;
    void* memory = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    char* mapping = static_cast<char*>(memory);
    size_t usable = mapped - 2 * PAGE;
    if (!fill_mapping(mapping + PAGE, usable)) {
        munmap(mapping, mapped);
        return nullptr;
    }
    char* start = mapping + PAGE + usable - used;
    allocations[reinterpret_cast<uintptr_t>(start)] = {bytes, mapping, mapped, device};
    return start;
}

size_t free_global(void* pointer) {
    auto found = allocations.find(reinterpret_cast<uintptr_t>(pointer));
    if (found == allocations.end()) return 0;
    Allocation allocation = found->second;
    check_slack(allocation, static_cast<char*>(pointer));
    allocations.erase(found);
    // A fresh inaccessible mapping returns the memory and keeps the addresses.
    mmap(allocation.mapping, allocation.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
         0);
    uintptr_t start = reinterpret_cast<uintptr_t>(pointer);
    freed[start] = allocation.bytes;
    quarantine.push_back({start, {allocation.mapping, allocation.mapped}});
    if (quarantine.size() > QUARANTINE) {
        munmap(quarantine.front().second.start, quarantine.front().second.bytes);
        freed.erase(quarantine.front().first);
        quarantine.pop_front();
    }
    return allocation.bytes;
}

bool check_global(const void* pointer, size_t bytes, const char* function) {
    uintptr_t start = reinterpret_cast<uintptr_t>(pointer);
    auto found = allocation_below(start);
    if (found != allocations.end()) {
        uintptr_t end = found->first + found->second.bytes;
        if (start < end || (start == end && bytes == 0))
            if (bytes <= end - start) return true;
    }
    char text[256];
    describe_address(pointer, text, sizeof text);
    fprintf(stderr, "CUDA emulator: %s: %zu bytes at %p leave the allocation: %s\n", function, bytes, pointer, text);
    return false;
}

int device_of_global(const void* pointer) {
    uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
    auto found = allocation_below(address);
    if (found == allocations.end() || address >= found->first + found->second.bytes) return -1;
    return found->second.device;
}

void describe_address(const void* address, char* text, size_t size) {
    uintptr_t where = reinterpret_cast<uintptr_t>(address);
    if (where < PAGE) {
        snprintf(text, size, "a null pointer");
        return;
    }
    for (const auto& [start, bytes] : freed)
        if (where >= start && where < start + bytes) {
            snprintf(text, size, "byte %zu of a freed allocation of %zu bytes", size_t(where - start), bytes);
            return;
        }
    auto above = allocations.upper_bound(where);
    auto below = allocation_below(where);
    if (below != allocations.end() && where < below->first + below->second.bytes) {
        snprintf(text, size, "byte %zu of an allocation of %zu bytes", size_t(where - below->first),
                 below->second.bytes);
        return;
    }
    size_t past = below == allocations.end() ? SIZE_MAX : where - (below->first + below->second.bytes);
    size_t before = above == allocations.end() ? SIZE_MAX : above->first - where;
    if (past == SIZE_MAX && before == SIZE_MAX)
        snprintf(text, size, "there are no allocations");
    else if (past <= before)
        snprintf(text, size, "%zu bytes past the end of an allocation of %zu bytes", past, below->second.bytes);
    else
        snprintf(text, size, "%zu bytes before an allocation of %zu bytes", before, above->second.bytes);
}

// ---- faults

namespace {

struct sigaction previous_handler[65];

void report_fault(int signal, const void* address) {
    char position[256], place[256], message[700];
    describe_position(position, sizeof position);
    if (signal == SIGFPE)
        snprintf(place, sizeof place, "integer division by zero");
    else if (is_stack_guard(address))
        snprintf(place, sizeof place, "the stack of the thread overflows");
    else
        describe_address(address, place, sizeof place);
    int length = snprintf(message, sizeof message, "CUDA emulator: %s: fault at %p (signal %d): %s\n", position,
                          address, signal, place);
    ssize_t ignored = write(STDERR_FILENO, message, size_t(length));
    (void)ignored;
}

// Lets the handler that was there before, or the default action, have the signal.
void pass_on(int signal, siginfo_t* information, void* context) {
    const struct sigaction& previous = previous_handler[signal];
    if (previous.sa_flags & SA_SIGINFO) return previous.sa_sigaction(signal, information, context);
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) return previous.sa_handler(signal);
    sigaction(signal, &previous, nullptr);  // the instruction faults again
}

void on_fault(int signal, siginfo_t* information, void* context) {
    if (!inside_kernel()) return pass_on(signal, information, context);
    report_fault(signal, information->si_addr);
    abort();
}

}  // namespace

void install_fault_handler() {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &previous_handler[SIGSEGV]);
    sigaction(SIGBUS, &action, &previous_handler[SIGBUS]);
    sigaction(SIGFPE, &action, &previous_handler[SIGFPE]);
}

void prepare_fault_stack() {
    static thread_local bool prepared = false;
    if (prepared) return;
    prepared = true;
    stack_t current;
    if (sigaltstack(nullptr, &current) != 0 || !(current.ss_flags & SS_DISABLE)) return;
    constexpr size_t size = 64 * 1024;
    stack_t stack = {};
    stack.ss_sp = malloc(size);  // lives as long as the thread may run kernels
    stack.ss_size = size;
    sigaltstack(&stack, nullptr);
}

}  // namespace emulator
