// What kernels see when they are compiled for the CPU: CUDA's language and the names of device.cuh.
#pragma once
#include <algorithm>
#include <cassert>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "arithmetic.h"
#include "block.h"
#include "tensor.h"
#include "transfer.h"
#include "vector_types.h"
#include "warp.h"
#include "wgmma.h"

#define __device__
#define __host__
#define __global__
#define __constant__ static
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
// Blocks run one after the other, so a static variable is shared by the threads of one block.
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))

#define KERNEL(threads, name) extern "C" void name
#define SOLE_384 384
#define SHARED_MEMORY(name) unsigned char* name = emulator::shared_memory
