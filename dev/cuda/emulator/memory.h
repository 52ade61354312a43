// Global memory of the emulated cards. Each allocation ends at a page that cannot be touched.
#pragma once
#include <cstddef>
#include <cstdint>

namespace emulator {

// Returns null when the host has no memory left. Contents are 0xFF (NaN as a float, -1 as an integer).
void* allocate_global(size_t bytes, int device);

// Returns the size of the allocation, or 0 when the pointer is not the start of one. Later accesses fault.
size_t free_global(void* pointer);

// True when [pointer, pointer + bytes) lies in one allocation; otherwise says why not on stderr.
bool check_global(const void* pointer, size_t bytes, const char* function);

// The card an allocation belongs to, or -1.
int device_of_global(const void* pointer);

// Describes where an address lies relative to the nearest allocation.
void describe_address(const void* address, char* text, size_t size);

// Reports faults of kernels (place, address, nearest allocation) and aborts; passes other faults on.
void install_fault_handler();
// Gives the calling thread of the operating system a stack for the handler, if it has none.
void prepare_fault_stack();

}  // namespace emulator
