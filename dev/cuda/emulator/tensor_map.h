// The tensor maps (descriptions of a tensor and a box for TMA) that the emulated driver encodes.
#pragma once
#include <cstdint>

struct alignas(64) CUtensorMap {
    unsigned long long opaque[16];
};

namespace emulator {

constexpr uint32_t TENSOR_MAP_MAGIC = 0x4d656e6f;

// The contents of a CUtensorMap. Lengths and strides are those of cuTensorMapEncodeTiled, dimension 0 the innermost.
struct TensorMap {
    uint32_t magic;
    uint8_t rank;
    uint8_t element_bytes;
    uint8_t swizzle;  // 0: none, 3: 128 bytes
    uint8_t nan_fill;
    unsigned char* address;
    uint64_t length[5];   // in elements
    uint64_t stride[4];   // in bytes, of dimensions 1 and up
    uint16_t box[5];      // in elements
};
static_assert(sizeof(TensorMap) <= sizeof(CUtensorMap));

}  // namespace emulator
