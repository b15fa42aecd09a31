// Vectors of W float32 lanes in the compiler's own types, for loops that it cannot vectorise by itself. Every
// function is inlined into code that is compiled for a vector level, and is translated to its instructions.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "bfloat16.h"
#include "vector_level.h"

namespace arsbench {

template <class E, int W>
struct VectorOf {
  typedef E type __attribute__((vector_size(W * sizeof(E))));
};
template <int W>
using Vector = typename VectorOf<float, W>::type;
template <int W>
using Words = typename VectorOf<std::uint32_t, W>::type;
template <int W>
using Halves = typename VectorOf<std::uint16_t, W>::type;

template <class V>
ARSBENCH_INLINE void read(V& v, const void* from) {
  std::memcpy(&v, from, sizeof v);
}
template <class V>
ARSBENCH_INLINE void write(const V& v, void* to) {
  std::memcpy(to, &v, sizeof v);
}

// W values as float32.
template <int W>
ARSBENCH_INLINE void read_floats(Vector<W>& v, const float* from) {
  read(v, from);
}
template <int W>
ARSBENCH_INLINE void read_floats(Vector<W>& v, const BFloat16* from) {
  Halves<W> bits;
  read(bits, from);
  const Words<W> words = __builtin_convertvector(bits, Words<W>) << 16;
  std::memcpy(&v, &words, sizeof v);
}

// W pairs (low[i], high[i]) of bfloat16 values, each in one word.
template <int W>
ARSBENCH_INLINE void read_pairs(Vector<W>& v, const BFloat16* low, const BFloat16* high) {
  Halves<W> first, second;
  read(first, low);
  read(second, high);
  const Words<W> words =
      __builtin_convertvector(first, Words<W>) | (__builtin_convertvector(second, Words<W>) << 16);
  std::memcpy(&v, &words, sizeof v);
}

// One stage of a transposition: exchanges bit S of the row's number and of the lane's number.
template <int W, int S, int... L>
ARSBENCH_INLINE void exchange(Vector<W>& a, Vector<W>& b, std::integer_sequence<int, L...>) {
  const Vector<W> low = a, high = b;
  a = __builtin_shufflevector(low, high, ((L & S) ? W + L - S : L)...);
  b = __builtin_shufflevector(low, high, ((L & S) ? W + L : L + S)...);
}

// Transposes a matrix of W rows and W lanes.
template <int W, int S = 1>
ARSBENCH_INLINE void transpose(Vector<W> (&rows)[W]) {
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i)
    if ((i & S) == 0) exchange<W, S>(rows[i], rows[i + S], std::make_integer_sequence<int, W>());
  if constexpr (2 * S < W) transpose<W, 2 * S>(rows);
}

}  // namespace arsbench
