// The two shapes of loop that the kernels are made of: independent iterations, and iterations that also sum.
#pragma once

#include <cmath>
#include <cstdint>

#include "bfloat16.h"
#include "vector_level.h"

// Promises the compiler that the iterations of the loop that follows do not depend on one another.
#if defined(__clang__)
#define ARSBENCH_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define ARSBENCH_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace arsbench {

// A sum is kept as sixteen partial sums that are added up in a fixed order: vectors of any width up to
// sixteen fit, and the order of additions does not depend on the width. Only fused multiply-adds tell levels
// apart.
constexpr int kLanes = 16;

// Asks for the sixteen elements 2 KiB after `at`. Processors do so by themselves, but not across the end of a
// page: on the Ice Lake that this was tried on, reading two long tensors goes from 15 to 21 GB/s. Beyond the
// tensor's end nothing happens.
template <class T>
ARSBENCH_INLINE void prefetch(const T* at) {
  constexpr std::uintptr_t kAhead = 2048, kLine = 64;
  const auto address = reinterpret_cast<std::uintptr_t>(at) + kAhead;
  for (std::uintptr_t line = 0; line < kLanes * sizeof(T); line += kLine)
    __builtin_prefetch(reinterpret_cast<const void*>(address + line));
}

// Calls element(i, lane) for i = 0 … n-1 with lane = i mod 16, the partial sum that i belongs to. The tensors
// `read` come from memory, not from a cache: they are asked for ahead of their use.
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

// 1/√(mean x² + eps), as RMSNorm divides by it.
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
