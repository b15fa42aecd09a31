// e^x in a form that the compiler can vectorise: no call, no branch, no table.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "vector_level.h"

namespace arsbench {

// e^x for x ≤ 0, as in softmax. The relative error is below 2⁻²³ (tests/csrc checks it); NaN stays NaN.
// Results below 2⁻⁸⁰ are 0. They are invisible beside the softmax's largest term, and numbers near the end of
// float32's range would become denormal later: a matrix product of denormal numbers takes twenty times as
// long.
//
// x = n·ln 2 + r with |r| ≤ ln(2)/2: eˣ = 2ⁿ·eʳ. eʳ is a Taylor series whose first omitted term is at most
// (ln(2)/2)⁸/8! = 5e-9.
ARSBENCH_INLINE float exp_nonpositive(float x) {
  constexpr float kLowest = -55.4517744f;  // ln(2⁻⁸⁰)
  // Adding 1.5·2²³ leaves no bits for a fraction: the sum is rounded to an integer, in its lowest bits.
  constexpr float kShift = 12582912.0f;
  constexpr float kLog2e = 1.44269504f;
  // ln 2 in two parts; the first has so few bits that n times it is exact.
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  const float clamped = x < kLowest ? kLowest : x;
  const float shifted = clamped * kLog2e + kShift;
  const float n = shifted - kShift;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;
  float e = 1.0f / 5040;
  e = e * r + 1.0f / 720;
  e = e * r + 1.0f / 120;
  e = e * r + 1.0f / 24;
  e = e * r + 1.0f / 6;
  e = e * r + 0.5f;
  e = e * r + 1;
  e = e * r + 1;
  std::uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + 0x3F800000u;  // the float 2ⁿ: the bits of kShift are shifted out
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < kLowest ? 0.0f : e * power;
}

ARSBENCH_INLINE double exp_nonpositive(double x) { return std::exp(x); }

}  // namespace arsbench
