// cp.async, ldmatrix, stmatrix and mma.sync.
#include "tensor.h"
#include "settings.h"
#include <vector>

namespace emulator {

unsigned char* shared_at(uint32_t address, size_t bytes, size_t alignment, const char* operation) {
    // Static shared arrays lie outside the dynamic memory; their addresses are large or "negative".
    bool dynamic = address < MAX_SHARED_MEMORY;
    if (dynamic && address + bytes > shared_memory_size())
        kernel_error("%s: %zu bytes at shared-memory address %u, but the block has %zu bytes", operation, bytes,
                     address, shared_memory_size());
    if (address % alignment != 0)
        kernel_error("%s: shared-memory address %u is not a multiple of %zu", operation, address, alignment);
    return shared_memory + int32_t(address);
}

// ---- cp.async: a copy happens only when the thread waits for its group, so a missing wait shows.

namespace {

struct Copy {
    unsigned char* destination;
    const unsigned char* source;
    int bytes;
    int copied;
};

struct CopyQueue {
    std::vector<Copy> copies;
    std::vector<size_t> group_end;  // of committed groups, counted in copies
};

CopyQueue queues[MAX_THREADS];
bool copies_started;  // by any thread of the block

void perform(const Copy& copy) {
    if (copy.copied > 0) memcpy(copy.destination, copy.source, size_t(copy.copied));
    memset(copy.destination + copy.copied, 0, size_t(copy.bytes - copy.copied));
}

}  // namespace

void start_copy(uint32_t destination, const void* source, int bytes, int copied) {
    if (copied < 0 || copied > bytes) kernel_error("cp.async of %d bytes, but the size is %d", copied, bytes);
    if (copied > 0 && reinterpret_cast<uintptr_t>(source) % unsigned(bytes) != 0)
        kernel_error("cp.async: source %p is not a multiple of %d", source, bytes);
    unsigned char* to = shared_at(destination, size_t(bytes), size_t(bytes), "cp.async");
    Copy copy = {to, static_cast<const unsigned char*>(source), bytes, copied};
    copies_started = true;
    if (settings.lazy)
        queues[current_thread].copies.push_back(copy);
    else
        perform(copy);
}

void commit_copies() {
    copies_started = true;
    CopyQueue& queue = queues[current_thread];
    queue.group_end.push_back(queue.copies.size());
}

void wait_for_copies(int open_groups) {
    CopyQueue& queue = queues[current_thread];
    if (queue.group_end.size() <= size_t(open_groups)) return;
    size_t groups = queue.group_end.size() - size_t(open_groups);
    size_t count = queue.group_end[groups - 1];
    for (size_t i = 0; i < count; i++) perform(queue.copies[i]);
    queue.copies.erase(queue.copies.begin(), queue.copies.begin() + long(count));
    queue.group_end.erase(queue.group_end.begin(), queue.group_end.begin() + long(groups));
    for (size_t& end : queue.group_end) end -= count;
}

// Copies that no thread has waited for do not outlive the block.
static void forget_copies() {
    if (!copies_started) return;
    copies_started = false;
    for (CopyQueue& queue : queues) {
        queue.copies.clear();
        queue.group_end.clear();
    }
}

static RegisterModel copy_model({forget_copies, nullptr, nullptr});

// ---- ldmatrix and stmatrix

namespace {

struct MatrixOperand {
    uint32_t* registers;
    int count;
    bool transposed;
    bool store;
    uint32_t address;
};

// The 16-bit elements of one 8x8 matrix: lane l holds two elements of row l / 4 (of column l / 4 when transposed).
void move_matrix(MatrixOperand* const* lanes, int matrix) {
    const MatrixOperand& first = *lanes[0];
    unsigned short* rows[8];
    const char* name = first.store ? "stmatrix" : "ldmatrix";
    for (int row = 0; row < 8; row++)
        rows[row] = reinterpret_cast<unsigned short*>(shared_at(lanes[matrix * 8 + row]->address, 16, 16, name));
    for (int lane = 0; lane < WARP; lane++) {
        uint32_t& value = lanes[lane]->registers[matrix];
        unsigned short halves[2];
        memcpy(halves, &value, 4);
        for (int half = 0; half < 2; half++) {
            int major = lane / 4, minor = lane % 4 * 2 + half;
            unsigned short& element = first.transposed ? rows[minor][major] : rows[major][minor];
            if (first.store)
                element = halves[half];
            else
                halves[half] = element;
        }
        memcpy(&value, halves, 4);
    }
}

void require_whole_warp(void* const* operands, const char* name) {
    for (int lane = 0; lane < WARP; lane++)
        if (!operands[lane]) kernel_error("%s needs all 32 lanes of the warp", name);
}

void resolve_matrices(void* const* operands) {
    require_whole_warp(operands, "ldmatrix or stmatrix");
    auto* lanes = reinterpret_cast<MatrixOperand* const*>(operands);
    for (int matrix = 0; matrix < lanes[0]->count; matrix++) move_matrix(lanes, matrix);
}

}  // namespace

void load_matrices(uint32_t* registers, int count, bool transposed, uint32_t address, Site site) {
    MatrixOperand operand = {registers, count, transposed, false, address};
    warp_operation(~0u, &operand, resolve_matrices, "ldmatrix", site);
}

void store_matrices(const uint32_t* registers, int count, bool transposed, uint32_t address, Site site) {
    MatrixOperand operand = {const_cast<uint32_t*>(registers), count, transposed, true, address};
    warp_operation(~0u, &operand, resolve_matrices, "stmatrix", site);
}

// ---- mma.sync

namespace {

struct ProductOperand {
    float* d;
    const uint32_t* a;
    const uint32_t* b;
};

typedef float Row __attribute__((vector_size(32)));  // the eight columns of a row

void resolve_product(void* const* operands) {
    require_whole_warp(operands, "mma.sync");
    auto* lanes = reinterpret_cast<ProductOperand* const*>(operands);
    float a[16][16];
    Row b[16], d[16];
    for (int lane = 0; lane < WARP; lane++) {
        const ProductOperand& operand = *lanes[lane];
        int row = lane / 4, column = lane % 4 * 2;
        for (int i = 0; i < 4; i++) {
            a[row + i % 2 * 8][column + i / 2 * 8] = unpack_low(operand.a[i]);
            a[row + i % 2 * 8][column + i / 2 * 8 + 1] = unpack_high(operand.a[i]);
            d[row + i / 2 * 8][column + i % 2] = operand.d[i];
        }
        for (int i = 0; i < 2; i++) {
            b[column + i * 8][row] = unpack_low(operand.b[i]);
            b[column + i * 8 + 1][row] = unpack_high(operand.b[i]);
        }
    }
    for (int row = 0; row < 16; row++) {
        Row sum = d[row];
        for (int k = 0; k < 16; k++) sum += a[row][k] * b[k];
        d[row] = sum;
    }
    for (int lane = 0; lane < WARP; lane++)
        for (int i = 0; i < 4; i++) lanes[lane]->d[i] = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
}

}  // namespace

void multiply_16x8x16(float* d, const uint32_t* a, const uint32_t* b, Site site) {
    ProductOperand operand = {d, a, b};
    warp_operation(~0u, &operand, resolve_product, "mma.sync", site);
}

}  // namespace emulator
