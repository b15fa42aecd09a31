// bfloat16 as a storage type, independent of torch: the upper half of a float32.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "vector_level.h"

namespace arsbench {

struct BFloat16 {
  std::uint16_t bits;
};

// The type that values of T are computed in, and that the moments of a parameter of type T are stored in.
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;

ARSBENCH_INLINE float load(const BFloat16& x) {
  const std::uint32_t bits = static_cast<std::uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
ARSBENCH_INLINE float load(const float& x) { return x; }
ARSBENCH_INLINE double load(const double& x) { return x; }

// Round to nearest, ties to even. NaN stays NaN: rounding its bits could carry over into infinity.
ARSBENCH_INLINE void store(BFloat16& out, float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  out.bits = static_cast<std::uint16_t>(value != value ? 0x7FC0u : rounded);
}
ARSBENCH_INLINE void store(float& out, float value) { out = value; }
ARSBENCH_INLINE void store(double& out, double value) { out = value; }

ARSBENCH_INLINE float round_to_bfloat16(float value) {
  BFloat16 rounded;
  store(rounded, value);
  return load(rounded);
}

}  // namespace arsbench
