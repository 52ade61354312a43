#include "wgmma.h"
#include "settings.h"
#include <vector>

namespace emulator {

uint64_t matrix_descriptor(uint32_t address, uint32_t leading_bytes, uint32_t stride_bytes) {
    if (address >= MAX_SHARED_MEMORY) kernel_error("wgmma operands must lie in dynamic shared memory");
    return uint64_t(address >> 4 & 0x3FFF) | uint64_t(leading_bytes >> 4) << 16 | uint64_t(stride_bytes >> 4) << 32 |
           1ull << 62;
}

namespace {

struct ProductQueue {
    std::vector<Product> products;
    std::vector<size_t> group_end;
};

ProductQueue queues[MAX_THREADS];
bool products_started;

// Reads elements of an operand through its descriptor.
class Operand {
  public:
    Operand(uint64_t descriptor, bool transposed)
        : address(uint32_t(descriptor & 0x3FFF) << 4), leading(uint32_t(descriptor >> 16 & 0x3FFF) << 4),
          stride(uint32_t(descriptor >> 32 & 0x3FFF) << 4), transposed(transposed) {
        if (descriptor >> 62 != 1) kernel_error("wgmma: the descriptor does not ask for the 128-byte swizzle");
    }
    float at(int row, int k) const {
        uint32_t offset = transposed ? uint32_t(row / 64) * leading + uint32_t(k / 8) * stride + uint32_t(k % 8) * 128 +
                                           uint32_t(row % 64) * 2
                                     : uint32_t(row / 8) * stride + uint32_t(row % 8) * 128 + uint32_t(k) * 2;
        uint32_t place = address + offset;
        place ^= (place >> 7 & 7) << 4;
        if (place + 2 > shared_memory_size())
            kernel_error("wgmma reads shared-memory address %u, but the block has %zu bytes", place,
                         shared_memory_size());
        bf16 value;
        memcpy(&value, shared_memory + place, 2);
        return to_float(value);
    }

  private:
    uint32_t address, leading, stride;
    bool transposed;
};

// The 16 rows of A that belong to a warp of the warpgroup.
void read_a(const Product* const* lanes, int warp, float (&a)[16][16]) {
    const Product& first = *lanes[0];
    if (first.a_registers) {
        for (int lane = 0; lane < WARP; lane++)
            for (int i = 0; i < 4; i++) {
                float* pair = &a[lane / 4 + i % 2 * 8][lane % 4 * 2 + i / 2 * 8];
                pair[0] = unpack_low(lanes[lane]->a_registers[i]);
                pair[1] = unpack_high(lanes[lane]->a_registers[i]);
            }
        return;
    }
    Operand operand(first.a, first.a_transposed);
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < 16; k++) a[row][k] = operand.at(warp % 4 * 16 + row, k);
}

void check_alike(const Product* const* lanes) {
    for (int lane = 1; lane < WARP; lane++)
        if (lanes[lane]->a != lanes[0]->a || lanes[lane]->b != lanes[0]->b || lanes[lane]->n != lanes[0]->n ||
            lanes[lane]->accumulate != lanes[0]->accumulate)
            kernel_error("the lanes of a warp start different wgmma products");
}

typedef float Columns __attribute__((vector_size(32)));  // eight columns of a row

// Computes the part of one warp. Eight columns at a time; lane l holds columns 2 (l % 4) and one more of rows l / 4
// and l / 4 + 8.
void multiply(const Product* const* lanes, int warp) {
    check_alike(lanes);
    const Product& first = *lanes[0];
    float a[16][16];
    read_a(lanes, warp, a);
    Operand operand(first.b, first.b_transposed);
    for (int group = 0; group < first.n / 8; group++) {
        Columns b[16], d[16];
        for (int k = 0; k < 16; k++)
            for (int column = 0; column < 8; column++) b[k][column] = operand.at(group * 8 + column, k);
        for (int lane = 0; lane < WARP; lane++)
            for (int i = 0; i < 4; i++)
                d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = first.accumulate ? lanes[lane]->d[group * 4 + i] : 0;
        for (int row = 0; row < 16; row++)
            for (int k = 0; k < 16; k++) d[row] += a[row][k] * b[k];
        for (int lane = 0; lane < WARP; lane++)
            for (int i = 0; i < 4; i++)
                lanes[lane]->d[group * 4 + i] = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
    }
}

void require_all(void* const* operands) {
    for (int lane = 0; lane < WARP; lane++)
        if (!operands[lane]) kernel_error("wgmma needs all 32 lanes of the warp");
}

void resolve_at_once(void* const* operands) {
    require_all(operands);
    multiply(reinterpret_cast<const Product* const*>(operands), current_thread / WARP);
}

// Performs the oldest products of a warp until only the wanted number of groups is open.
void resolve_wait(void* const* operands) {
    require_all(operands);
    int warp = current_thread / WARP;
    int open_groups = *static_cast<int*>(operands[0]);
    ProductQueue* lane_queues = &queues[warp * WARP];
    size_t committed = lane_queues[0].group_end.size();
    for (int lane = 0; lane < WARP; lane++)
        if (lane_queues[lane].group_end != lane_queues[0].group_end)
            kernel_error("the lanes of a warp have committed different wgmma groups");
    if (committed <= size_t(open_groups)) return;
    size_t groups = committed - size_t(open_groups);
    size_t count = lane_queues[0].group_end[groups - 1];
    for (size_t i = 0; i < count; i++) {
        const Product* lanes[WARP];
        for (int lane = 0; lane < WARP; lane++) lanes[lane] = &lane_queues[lane].products[i];
        multiply(lanes, warp);
    }
    for (int lane = 0; lane < WARP; lane++) {
        ProductQueue& queue = lane_queues[lane];
        queue.products.erase(queue.products.begin(), queue.products.begin() + long(count));
        queue.group_end.erase(queue.group_end.begin(), queue.group_end.begin() + long(groups));
        for (size_t& end : queue.group_end) end -= count;
    }
}

void forget_products() {
    if (!products_started) return;
    products_started = false;
    for (ProductQueue& queue : queues) {
        queue.products.clear();
        queue.group_end.clear();
    }
}

void check_products() {
    if (!products_started) return;
    for (const ProductQueue& queue : queues)
        if (!queue.products.empty()) kernel_error("the block ended before its wgmma products were waited for");
}

RegisterModel product_model({forget_products, check_products, nullptr});

}  // namespace

void start_product(const Product& product, Site site) {
    products_started = true;
    if (settings.lazy) {
        queues[current_thread].products.push_back(product);
        return;
    }
    Product operand = product;
    warp_operation(~0u, &operand, resolve_at_once, "wgmma", site);
}

void commit_products() {
    products_started = true;
    queues[current_thread].group_end.push_back(queues[current_thread].products.size());
}

void wait_for_products(int open_groups, Site site) {
    warp_operation(~0u, &open_groups, resolve_wait, "wg_wait", site);
}

}  // namespace emulator
