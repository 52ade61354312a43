#include "transfer.h"
#include "settings.h"
#include <algorithm>
#include <deque>
#include <map>
#include <vector>

namespace emulator {

// ---- mbarrier

namespace {

struct SharedBarrier {
    int count;            // arrivals of a phase
    int pending;          // arrivals that this phase lacks
    long long bytes;      // announced and not yet copied
    unsigned phase;
    std::vector<int> waiting;
};

std::map<uint32_t, SharedBarrier> barriers;

SharedBarrier& barrier_at(uint32_t address) {
    auto found = barriers.find(address);
    if (found == barriers.end()) kernel_error("there is no mbarrier at shared-memory address %u", address);
    return found->second;
}

void finish_phase_if_complete(uint32_t address, SharedBarrier& barrier) {
    if (barrier.pending < 0) kernel_error("more arrivals at the mbarrier at %u than its %d", address, barrier.count);
    if (barrier.pending > 0 || barrier.bytes != 0) return;
    barrier.phase++;
    barrier.pending = barrier.count;
    for (int thread : barrier.waiting) wake(thread);
    barrier.waiting.clear();
}

void bytes_arrived(uint32_t address, long long bytes) {
    SharedBarrier& barrier = barrier_at(address);
    barrier.bytes -= bytes;
    finish_phase_if_complete(address, barrier);
}

}  // namespace

void barrier_init(uint32_t address, int count) {
    shared_at(address, 8, 8, "mbar_init");
    if (count < 1) kernel_error("mbar_init with %d arrivals", count);
    barriers[address] = {count, count, 0, 0, {}};
}

void barrier_arrive(uint32_t address, uint32_t expected_bytes) {
    SharedBarrier& barrier = barrier_at(address);
    barrier.bytes += expected_bytes;
    barrier.pending--;
    finish_phase_if_complete(address, barrier);
}

void barrier_wait(uint32_t address, uint32_t parity, Site site) {
    SharedBarrier& barrier = barrier_at(address);
    while ((barrier.phase & 1) == parity) {
        barrier.waiting.push_back(current_thread);
        wait("mbar_wait", site);
    }
}

// ---- TMA

namespace {

struct Transfer {
    TensorMap map;
    int position[5];
    uint32_t shared;
    uint32_t barrier;
};

struct StoreQueue {
    std::vector<Transfer> stores;
    std::vector<size_t> group_end;
};

std::deque<Transfer> late_loads;
StoreQueue store_queues[MAX_THREADS];
bool stores_started;

uint32_t swizzle_address(const TensorMap& map, uint32_t address) {
    return map.swizzle ? address ^ ((address >> 7 & 7) << 4) : address;
}

size_t box_bytes(const TensorMap& map) {
    size_t bytes = map.element_bytes;
    for (int side : map.box) bytes *= size_t(side);
    return bytes;
}

// The global address of the row of a box, or null when the row lies outside of the tensor.
unsigned char* row_address(const Transfer& transfer, const int (&index)[5]) {
    const TensorMap& map = transfer.map;
    unsigned char* address = map.address;
    for (int i = 1; i < map.rank; i++) {
        long long at = (long long)transfer.position[i] + index[i];
        if (at < 0 || at >= (long long)map.length[i]) return nullptr;
        address += at * (long long)map.stride[i - 1];
    }
    return address;
}

// Copies one row of a box; elements outside of the tensor read as zero (NaN on request) and are not written.
void move_row(const Transfer& transfer, unsigned char* row, uint32_t shared, bool store) {
    const TensorMap& map = transfer.map;
    const int bytes = map.element_bytes;
    for (int i = 0; i < map.box[0]; i++) {
        long long at = (long long)transfer.position[0] + i;
        bool inside = row && at >= 0 && at < (long long)map.length[0];
        unsigned char* element = shared_memory + swizzle_address(map, shared + uint32_t(i * bytes));
        if (store) {
            if (inside) memcpy(row + at * bytes, element, size_t(bytes));
        } else if (inside) {
            memcpy(element, row + at * bytes, size_t(bytes));
        } else {
            memset(element, map.nan_fill ? 0xFF : 0, size_t(bytes));
        }
    }
}

void move_box(const Transfer& transfer, bool store) {
    const TensorMap& map = transfer.map;
    uint32_t shared = transfer.shared;
    int index[5] = {};
    for (index[4] = 0; index[4] < map.box[4]; index[4]++)
        for (index[3] = 0; index[3] < map.box[3]; index[3]++)
            for (index[2] = 0; index[2] < map.box[2]; index[2]++)
                for (index[1] = 0; index[1] < map.box[1]; index[1]++) {
                    move_row(transfer, row_address(transfer, index), shared, store);
                    shared += uint32_t(map.box[0] * map.element_bytes);
                }
}

Transfer make_transfer(const char* name, const CUtensorMap* map, uint32_t shared, const int (&position)[5], int rank,
                       uint32_t barrier) {
    Transfer transfer = {};
    memcpy(&transfer.map, map, sizeof transfer.map);
    if (transfer.map.magic != TENSOR_MAP_MAGIC) kernel_error("%s: %p is not a tensor map", name, (const void*)map);
    if (transfer.map.rank != rank) kernel_error("%s: the tensor map has rank %d", name, transfer.map.rank);
    shared_at(shared, box_bytes(transfer.map), 128, name);
    std::copy(position, position + 5, transfer.position);
    transfer.shared = shared;
    transfer.barrier = barrier;
    return transfer;
}

void perform_load(const Transfer& transfer) {
    move_box(transfer, false);
    bytes_arrived(transfer.barrier, (long long)box_bytes(transfer.map));
}

// When all threads wait, the oldest load must have arrived.
bool perform_late_load() {
    if (late_loads.empty()) return false;
    Transfer transfer = late_loads.front();
    late_loads.pop_front();
    perform_load(transfer);
    return true;
}

void forget_transfers() {
    barriers.clear();
    late_loads.clear();
    if (!stores_started) return;
    stores_started = false;
    for (StoreQueue& queue : store_queues) {
        queue.stores.clear();
        queue.group_end.clear();
    }
}

// The shared memory of a block goes to another block when it ends, so every copy must have ended before.
void check_transfers() {
    if (!late_loads.empty()) kernel_error("the block ended before its TMA loads");
    if (!stores_started) return;
    for (const StoreQueue& queue : store_queues)
        if (!queue.stores.empty()) kernel_error("the block ended before its TMA stores were waited for");
}

RegisterModel transfer_model({forget_transfers, check_transfers, perform_late_load});

}  // namespace

void start_load(uint32_t destination, const CUtensorMap* map, const int (&position)[5], int rank, uint32_t barrier) {
    barrier_at(barrier);
    Transfer transfer = make_transfer("tma_load", map, destination, position, rank, barrier);
    if (settings.late_loads)
        late_loads.push_back(transfer);
    else
        perform_load(transfer);
}

void start_store(const CUtensorMap* map, uint32_t source, const int (&position)[5], int rank) {
    Transfer transfer = make_transfer("tma_store", map, source, position, rank, 0);
    stores_started = true;
    if (settings.lazy)
        store_queues[current_thread].stores.push_back(transfer);
    else
        move_box(transfer, true);
}

void commit_stores() {
    StoreQueue& queue = store_queues[current_thread];
    stores_started = true;
    queue.group_end.push_back(queue.stores.size());
}

void wait_for_stores(int open_groups) {
    StoreQueue& queue = store_queues[current_thread];
    if (queue.group_end.size() <= size_t(open_groups)) return;
    size_t groups = queue.group_end.size() - size_t(open_groups);
    size_t count = queue.group_end[groups - 1];
    for (size_t i = 0; i < count; i++) move_box(queue.stores[i], true);
    queue.stores.erase(queue.stores.begin(), queue.stores.begin() + long(count));
    queue.group_end.erase(queue.group_end.begin(), queue.group_end.begin() + long(groups));
    for (size_t& end : queue.group_end) end -= count;
}

// There is no cache: only the alignment matters, and that the memory exists.
void check_prefetch(const void* from, uint32_t bytes) {
    if (reinterpret_cast<uintptr_t>(from) % 16 != 0 || bytes == 0 || bytes % 16 != 0)
        kernel_error("prefetch_l2 of %u bytes at %p", bytes, from);
    const volatile unsigned char* memory = static_cast<const unsigned char*>(from);
    static_cast<void>(memory[0]);
    static_cast<void>(memory[bytes - 1]);
}

}  // namespace emulator
