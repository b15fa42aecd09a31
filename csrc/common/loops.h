// The two loops that the kernels use: over independent iterations, and over iterations that also sum.
#pragma once

#include <cmath>
#include <cstdint>

#include "bfloat16.h"
#include "vector_level.h"

// Tells the compiler that the iterations of the following loop are independent.
#if defined(__clang__)
#define ARSBENCH_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define ARSBENCH_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace arsbench {

// A sum is kept as sixteen partial sums that are added in a fixed order. Vectors of any width up to sixteen
// fit, and the order of additions does not depend on the width; only fused multiply-adds make vector levels
// differ.
constexpr int kLanes = 16;

// Prefetches the sixteen elements 2 KiB after `at`. Hardware prefetching stops at the end of a page: on an
// Ice Lake, reading two long tensors goes from 15 to 21 GB/s. Prefetching beyond the tensor's end has no
// effect.
template <class T>
ARSBENCH_INLINE void prefetch(const T* at) {
  constexpr std::uintptr_t kAhead = 2048, kLine = 64;
  const auto address = reinterpret_cast<std::uintptr_t>(at) + kAhead;
  for (std::uintptr_t line = 0; line < kLanes * sizeof(T); line += kLine)
    __builtin_prefetch(reinterpret_cast<const void*>(address + line));
}

// Calls element(i, lane) for i = 0 … n-1, where lane = i mod 16 is the partial sum that i belongs to. `read`
// are tensors that come from memory, not from a cache; they are prefetched.
template <class Element, class... T>
ARSBENCH_INLINE void for_each_in_lanes(std::int64_t n, Element element, const T*... read) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    (prefetch(read + i), ...);
    ARSBENCH_INDEPENDENT
    for (int lane = 0; lane < kLanes; ++lane) element(i + lane, lane);
  }
  for (int lane = 0; i + lane < n; ++lane) element(i + lane, lane);
}

template <class S>
ARSBENCH_INLINE S total(const S* lanes) {
  S sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += lanes[lane];
  return sum;
}

// 1/√(mean x² + eps), the factor of RMSNorm.
template <class T>
ARSBENCH_INLINE Compute<T> inverse_rms(std::int64_t n, const T* x, Compute<T> eps) {
  using S = Compute<T>;
  S squares[kLanes] = {};
  for_each_in_lanes(n, [&](std::int64_t i, int lane) __attribute__((always_inline)) {
    const S value = load(x[i]);
    squares[lane] += value * value;
  });
  return 1 / std::sqrt(total(squares) / static_cast<S>(n) + eps);
}

}  // namespace arsbench
