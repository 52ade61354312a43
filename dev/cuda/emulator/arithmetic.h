// bf16, bit casts, rounding and the mathematical functions of CUDA, computed by the C library.
#pragma once
#include "vector_types.h"
#include <chrono>
#include <cstring>
#include <math.h>

// Round to nearest even. Kernels use to_float and from_float, never arithmetic on this type.
struct __nv_bfloat16 {
    unsigned short bits;
};
typedef __nv_bfloat16 bf16;

namespace emulator {
template <class To, class From> To bit_cast(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To result;
    memcpy(&result, &value, sizeof result);
    return result;
}
}  // namespace emulator

inline unsigned __float_as_uint(float value) { return emulator::bit_cast<unsigned>(value); }
inline int __float_as_int(float value) { return emulator::bit_cast<int>(value); }
inline float __uint_as_float(unsigned value) { return emulator::bit_cast<float>(value); }
inline float __int_as_float(int value) { return emulator::bit_cast<float>(value); }
inline long long __double_as_longlong(double value) { return emulator::bit_cast<long long>(value); }
inline double __longlong_as_double(long long value) { return emulator::bit_cast<double>(value); }

inline float to_float(float value) { return value; }
inline float to_float(bf16 value) { return __uint_as_float(unsigned(value.bits) << 16); }

template <class T> T from_float(float value);
template <> inline float from_float<float>(float value) { return value; }
template <> inline bf16 from_float<bf16>(float value) {
    unsigned bits = __float_as_uint(value);
    if ((bits & 0x7fffffff) > 0x7f800000) return {0x7fff};  // NaN, as the hardware gives it
    bits += 0x7fff + (bits >> 16 & 1);
    return {static_cast<unsigned short>(bits >> 16)};
}

inline float __bfloat162float(bf16 value) { return to_float(value); }
inline bf16 __float2bfloat16_rn(float value) { return from_float<bf16>(value); }
inline bf16 __float2bfloat16(float value) { return from_float<bf16>(value); }
inline unsigned short __bfloat16_as_ushort(bf16 value) { return value.bits; }
inline bf16 __ushort_as_bfloat16(unsigned short bits) { return {bits}; }

// Two bf16 in 32 bits, `low` in the lower half (at the lower address).
inline uint32_t pack2(float low, float high) {
    return from_float<bf16>(low).bits | uint32_t(from_float<bf16>(high).bits) << 16;
}
inline float unpack_low(uint32_t pair) { return __uint_as_float(pair << 16); }
inline float unpack_high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

// Two e4m3 numbers in 32 bits, each with the bits of an f16 that is 2^8 times too small. The exponents of f16 and f32
// differ by 112; the product is exact, for subnormal numbers too.
inline void unpack_e4m3(float& low, float& high, uint32_t pair) {
    const auto value = [](uint32_t bits) {
        return __uint_as_float((bits & 0x8000) << 16 | (bits & 0x7fff) << 13) * 0x1p120f;
    };
    low = value(pair & 0xffff), high = value(pair >> 16);
}

// The library is compiled without contraction, so plain operators round once.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __frsqrt_rn(float a) { return float(1.0 / sqrt(double(a))); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline double __dsqrt_rn(double a) { return sqrt(a); }

inline float rsqrtf(float a) { return __frsqrt_rn(a); }
inline double rsqrt(double a) { return 1.0 / sqrt(a); }
inline float ex2(float a) {  // ex2.approx.ftz: subnormal operands and results count as zero
    float result = exp2f(a);
    return result < 1.17549435e-38f ? 0.0f : result;
}
inline float lg2(float a) { return log2f(a); }
inline float __expf(float a) { return expf(a); }
inline float __exp10f(float a) { return powf(10.0f, a); }
inline float __logf(float a) { return logf(a); }
inline float __log2f(float a) { return log2f(a); }
inline float __powf(float a, float b) { return powf(a, b); }
inline float __sinf(float a) { return sinf(a); }
inline float __cosf(float a) { return cosf(a); }
inline void __sincosf(float a, float* sine, float* cosine) { sincosf(a, sine, cosine); }
inline float __fdividef(float a, float b) { return a / b; }
inline float fdividef(float a, float b) { return a / b; }
inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }

namespace emulator {
// Conversions clamp to the range of the result and turn NaN to zero.
template <class T> T clamp_to_integer(double value) {
    constexpr T lowest = T(1) << (T(-1) < T(0) ? sizeof(T) * 8 - 1 : 0);
    constexpr bool is_signed = T(-1) < T(0);
    constexpr double half = double(1ull << (sizeof(T) * 8 - 1));
    constexpr double limit = is_signed ? half : 2 * half;
    if (isnan(value)) return 0;
    if (value >= limit) return is_signed ? T(~lowest) : T(~T(0));
    if (value < (is_signed ? -limit : 0.0)) return is_signed ? lowest : T(0);
    return T(value);
}
}  // namespace emulator

inline int __float2int_rn(float a) { return emulator::clamp_to_integer<int>(rintf(a)); }
inline int __float2int_rz(float a) { return emulator::clamp_to_integer<int>(truncf(a)); }
inline int __float2int_rd(float a) { return emulator::clamp_to_integer<int>(floorf(a)); }
inline int __float2int_ru(float a) { return emulator::clamp_to_integer<int>(ceilf(a)); }
inline unsigned __float2uint_rn(float a) { return emulator::clamp_to_integer<unsigned>(rintf(a)); }
inline unsigned __float2uint_rz(float a) { return emulator::clamp_to_integer<unsigned>(truncf(a)); }
inline unsigned __float2uint_rd(float a) { return emulator::clamp_to_integer<unsigned>(floorf(a)); }
inline unsigned long long __float2ull_rz(float a) { return emulator::clamp_to_integer<unsigned long long>(truncf(a)); }
inline long long __double2ll_rz(double a) { return emulator::clamp_to_integer<long long>(trunc(a)); }
inline unsigned long long __double2ull_rz(double a) { return emulator::clamp_to_integer<unsigned long long>(trunc(a)); }
inline unsigned long long __double2ull_ru(double a) { return emulator::clamp_to_integer<unsigned long long>(ceil(a)); }
inline float __int2float_rn(int a) { return float(a); }
inline float __uint2float_rn(unsigned a) { return float(a); }
inline float __double2float_rn(double a) { return float(a); }
inline double __ull2double_rn(unsigned long long a) { return double(a); }

inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
inline int __ffs(int a) { return __builtin_ffs(a); }
inline int __ffsll(long long a) { return __builtin_ffsll(a); }
inline int __clz(int a) { return a ? __builtin_clz(unsigned(a)) : 32; }
inline int __clzll(long long a) { return a ? __builtin_clzll((unsigned long long)a) : 64; }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
inline unsigned __brev(unsigned a) {
    unsigned result = 0;
    for (int i = 0; i < 32; i++) result |= (a >> i & 1) << (31 - i);
    return result;
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    unsigned long long bytes = low | (unsigned long long)high << 32;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) result |= unsigned(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
    return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    shift &= 31;
    return shift ? high << shift | low >> (32 - shift) : high;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    shift &= 31;
    return shift ? low >> shift | high << (32 - shift) : low;
}

// CUDA's min and max; those of floating-point numbers ignore a NaN beside a number.
#define EMULATOR_MIN_MAX(type)                              \
    inline type min(type a, type b) { return b < a ? b : a; } \
    inline type max(type a, type b) { return a < b ? b : a; }
EMULATOR_MIN_MAX(int)
EMULATOR_MIN_MAX(unsigned)
EMULATOR_MIN_MAX(long)
EMULATOR_MIN_MAX(unsigned long)
EMULATOR_MIN_MAX(long long)
EMULATOR_MIN_MAX(unsigned long long)
#undef EMULATOR_MIN_MAX
inline unsigned min(int a, unsigned b) { return min(unsigned(a), b); }
inline unsigned min(unsigned a, int b) { return min(a, unsigned(b)); }
inline unsigned max(int a, unsigned b) { return max(unsigned(a), b); }
inline unsigned max(unsigned a, int b) { return max(a, unsigned(b)); }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

template <class T> T __ldg(const T* address) { return *address; }
template <class T> T __ldca(const T* address) { return *address; }
template <class T> T __ldcg(const T* address) { return *address; }
template <class T> T __ldcs(const T* address) { return *address; }
template <class T> void __stcg(T* address, T value) { *address = value; }
template <class T> void __stcs(T* address, T value) { *address = value; }

inline long long clock64() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch()).count();
}
