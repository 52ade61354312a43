// cuTensorMapEncodeTiled, with the checks of the real one.
#include "driver.h"
#include "tensor_map.h"
#include <cstring>

using namespace emulator;

// Bytes of an element of CUtensorMapDataType, or 0.
static unsigned element_bytes(int type) {
    static const unsigned bytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
    return type >= 0 && type < int(sizeof bytes / sizeof *bytes) ? bytes[type] : 0;
}

static CUresult check_dimension(const TensorMap& map, unsigned i, uint64_t length, uint32_t box, uint32_t step) {
    if (length == 0 || length > (1ull << 32))
        return refuse(CUDA_ERROR_INVALID_VALUE, "tensor map: dimension %u has %llu elements", i,
                      (unsigned long long)length);
    if (box == 0 || box > 256) return refuse(CUDA_ERROR_INVALID_VALUE, "tensor map: box %u of dimension %u", box, i);
    if (step != 1) return refuse(CUDA_ERROR_NOT_SUPPORTED, "tensor map: element stride %u of dimension %u", step, i);
    if (i == 0 && box * map.element_bytes % 16 != 0)
        return refuse(CUDA_ERROR_INVALID_VALUE, "tensor map: %u bytes inside the box", box * map.element_bytes);
    if (i == 0 && map.swizzle == 3 && box * map.element_bytes > 128)
        return refuse(CUDA_ERROR_INVALID_VALUE, "tensor map: a box of %u bytes with a swizzle of 128",
                      box * map.element_bytes);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuTensorMapEncodeTiled(CUtensorMap* result, int type, unsigned rank, void* address,
                                       const uint64_t* lengths, const uint64_t* strides, const uint32_t* box,
                                       const uint32_t* element_strides, int interleave, int swizzle, int,
                                       int nan_fill) {
    BEGIN_CALL(INITIALISED);
    if (!result || !lengths || !box || !element_strides || (rank > 1 && !strides)) return CUDA_ERROR_INVALID_VALUE;
    if (reinterpret_cast<uintptr_t>(result) % 64 != 0)
        return refuse(CUDA_ERROR_INVALID_VALUE, "tensor map: the map itself must be 64-byte aligned");
    if (rank < 1 || rank > 5 || !element_bytes(type))
        return refuse(CUDA_ERROR_INVALID_VALUE, "tensor map: rank %u, type %d", rank, type);
    if (!address || reinterpret_cast<uintptr_t>(address) % 16 != 0)
        return refuse(CUDA_ERROR_INVALID_VALUE, "tensor map: address %p is not 16-byte aligned", address);
    if (interleave != 0 || (swizzle != 0 && swizzle != 3))
        return refuse(CUDA_ERROR_NOT_SUPPORTED, "tensor map: interleave %d, swizzle %d", interleave, swizzle);
    TensorMap map = {};
    map.magic = TENSOR_MAP_MAGIC;
    map.rank = uint8_t(rank);
    map.element_bytes = uint8_t(element_bytes(type));
    map.swizzle = uint8_t(swizzle);
    map.nan_fill = nan_fill != 0;
    map.address = static_cast<unsigned char*>(address);
    for (unsigned i = 0; i < 5; i++) {
        map.length[i] = i < rank ? lengths[i] : 1;
        map.box[i] = i < rank ? uint16_t(box[i]) : 1;
        if (i >= rank) continue;
        CUresult checked = check_dimension(map, i, lengths[i], box[i], element_strides[i]);
        if (checked != CUDA_SUCCESS) return checked;
        if (i + 1 < rank && (strides[i] % 16 != 0 || strides[i] >= (1ull << 40)))
            return refuse(CUDA_ERROR_INVALID_VALUE, "tensor map: stride %llu", (unsigned long long)strides[i]);
        if (i + 1 < rank) map.stride[i] = strides[i];
    }
    memset(result, 0, sizeof *result);
    memcpy(result, &map, sizeof map);
    return CUDA_SUCCESS;
}
