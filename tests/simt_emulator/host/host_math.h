// CUDA's device functions that C++ lacks. Functions that are approximate in CUDA are correctly rounded here,
// or nearly so: the error of a GPU's approximation cannot be observed.
#pragma once

#include <math.h>

#include <bit>
#include <cmath>

// ---- Numbers as bits
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }

// ---- Integers
inline int __popc(unsigned value) { return std::popcount(value); }
inline int __popcll(unsigned long long value) { return std::popcount(value); }
inline int __clz(int value) { return std::countl_zero(static_cast<unsigned>(value)); }
inline int __clzll(long long value) { return std::countl_zero(static_cast<unsigned long long>(value)); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }

// ---- Real numbers. noexcept: glibc declares some of these functions, and these are then their definitions.
inline float rsqrtf(float x) noexcept { return 1.0f / std::sqrt(x); }
inline float __expf(float x) noexcept { return std::exp(x); }
inline float __logf(float x) noexcept { return std::log(x); }
inline float __log2f(float x) noexcept { return std::log2(x); }
inline float __sinf(float x) noexcept { return std::sin(x); }
inline float __cosf(float x) noexcept { return std::cos(x); }
inline float __powf(float x, float y) noexcept { return std::pow(x, y); }
inline float __fdividef(float x, float y) noexcept { return x / y; }
inline float __fadd_rn(float x, float y) noexcept { return x + y; }
inline float __fsub_rn(float x, float y) noexcept { return x - y; }
inline float __fmul_rn(float x, float y) noexcept { return x * y; }
inline float __fdiv_rn(float x, float y) noexcept { return x / y; }
inline float __fsqrt_rn(float x) noexcept { return std::sqrt(x); }
inline float __frcp_rn(float x) noexcept { return 1.0f / x; }
inline float __fmaf_rn(float x, float y, float z) noexcept { return std::fma(x, y, z); }
inline float __double2float_rn(double x) noexcept { return static_cast<float>(x); }
#if defined(__APPLE__)
inline void sincosf(float x, float* sine, float* cosine) {
  *sine = std::sin(x);
  *cosine = std::cos(x);
}
#endif

// ---- min and max. Plain functions, as in CUDA: a template would not convert arguments of different types.
#define SIMT_MIN_MAX(T)                            \
  inline T min(T a, T b) { return b < a ? b : a; } \
  inline T max(T a, T b) { return a < b ? b : a; }
#define SIMT_MIN_MAX_MIXED(Signed, Unsigned)                                             \
  inline Unsigned min(Signed a, Unsigned b) { return min(static_cast<Unsigned>(a), b); } \
  inline Unsigned min(Unsigned a, Signed b) { return min(a, static_cast<Unsigned>(b)); } \
  inline Unsigned max(Signed a, Unsigned b) { return max(static_cast<Unsigned>(a), b); } \
  inline Unsigned max(Unsigned a, Signed b) { return max(a, static_cast<Unsigned>(b)); }
SIMT_MIN_MAX(int)
SIMT_MIN_MAX(unsigned)
SIMT_MIN_MAX(long)
SIMT_MIN_MAX(unsigned long)
SIMT_MIN_MAX(long long)
SIMT_MIN_MAX(unsigned long long)
SIMT_MIN_MAX_MIXED(int, unsigned)
SIMT_MIN_MAX_MIXED(long, unsigned long)
SIMT_MIN_MAX_MIXED(long long, unsigned long long)
#undef SIMT_MIN_MAX
#undef SIMT_MIN_MAX_MIXED
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }

// ---- Memory
template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
void __stcs(T* address, T value) {
  *address = value;
}
