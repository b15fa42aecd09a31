// Copies blocks of a matrix into panels, so that a tile of a product reads its operands from contiguous
// memory. A panel holds P neighbouring rows (or columns) in 32-bit words: word p of all of them, then word p
// + 1, …
#pragma once

#include <algorithm>
#include <cstdint>

#include "vectors.h"

namespace arsbench {

// float32 or bfloat16 values, one in a word.
struct Singles {
  static constexpr int kDepth = 1;  // elements of the sum in one word

  // W words: W successive elements of a sum.
  template <int W, class T>
  static ARSBENCH_INLINE void along(Vector<W>& v, const T* x) {
    read_floats<W>(v, x);
  }
  // W words: one element of W neighbouring sums.
  template <int W, class T>
  static ARSBENCH_INLINE void across(Vector<W>& v, const T* x, std::int64_t) {
    read_floats<W>(v, x);
  }
  // One word, of which `left` elements remain.
  template <class T>
  static ARSBENCH_INLINE float word(const T* x, std::int64_t, std::int64_t) {
    return load(*x);
  }
};

// bfloat16 values, two successive elements of a sum in a word; a missing second one is 0.
struct Pairs {
  static constexpr int kDepth = 2;

  template <int W>
  static ARSBENCH_INLINE void along(Vector<W>& v, const BFloat16* x) {
    read(v, x);
  }
  template <int W>
  static ARSBENCH_INLINE void across(Vector<W>& v, const BFloat16* x, std::int64_t step) {
    read_pairs<W>(v, x, x + step);
  }
  static ARSBENCH_INLINE float word(const BFloat16* x, std::int64_t step, std::int64_t left) {
    const std::uint32_t bits = x[0].bits | (left > 1 ? static_cast<std::uint32_t>(x[step].bits) << 16 : 0u);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
};

// `count` vectors of `length` elements, the rows or columns of a panel: element p of vector i is
// x[i·across + p·along].
template <class T>
struct Source {
  const T* x;
  std::int64_t across, along, length, count;

  const T* at(std::int64_t i, std::int64_t p) const { return x + i * across + p * along; }
};

constexpr int largest_power_of_two(int at_most) {
  int power = 1;
  while (2 * power <= at_most) power *= 2;
  return power;
}

template <class Unit, class T>
ARSBENCH_INLINE float word_of(const Source<T>& source, std::int64_t i, std::int64_t p) {
  const std::int64_t element = p * Unit::kDepth;
  if (i >= source.count || element >= source.length) return 0;
  return Unit::word(source.at(i, element), source.along, source.length - element);
}

// W words each of the vectors first … first + W - 1, from word p on; vectors that are missing are zero.
template <int W, class Unit, class T>
ARSBENCH_INLINE void read_along(Vector<W> (&rows)[W], const Source<T>& source, std::int64_t first,
                                std::int64_t p) {
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) {
    rows[i] = Vector<W>{};
    if (first + i < source.count) Unit::template along<W>(rows[i], source.at(first + i, p * Unit::kDepth));
  }
}

// out[p][i] ← word p of vector i, for p < words and i < P; zero where the source ends.
//
// W: lanes of the level's vectors. Writes up to W words past the panel's end.
template <int W, int P, class Unit, class T>
ARSBENCH_INLINE void pack_panel(const Source<T>& source, std::int64_t words, float* out) {
  static_assert(P <= W || P % W == 0);
  const std::int64_t whole = source.length / Unit::kDepth;  // words without a missing element
  std::int64_t p = 0;
  if (source.across == 1 && source.count >= P) {
    constexpr int kLanes = std::min(W, largest_power_of_two(P));
    for (; p < whole; ++p)
#pragma GCC unroll 4
      for (int i = 0; i < P; i += kLanes) {
        const int at = std::min(i, P - kLanes);  // the last two may overlap
        Vector<kLanes> v;
        Unit::template across<kLanes>(v, source.at(at, p * Unit::kDepth), source.along);
        write(v, out + p * P + at);
      }
  } else if (source.along == 1) {
    for (; p + W <= whole; p += W)
#pragma GCC unroll 4
      for (int first = 0; first < P; first += W) {
        Vector<W> rows[W];
        read_along<W, Unit>(rows, source, first, p);
        transpose<W>(rows);
      // Where P < W, each row's last words are overwritten by the next row.
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) write(rows[i], out + (p + i) * P + first);
      }
  }
  for (; p < words; ++p)
    for (int i = 0; i < P; ++i) out[p * P + i] = word_of<Unit>(source, i, p);
}

// The same for tile registers of W rows of W words: out[p/W][i][p mod W]. `words` is a multiple of W.
template <int W, int P, class Unit, class T>
ARSBENCH_INLINE void pack_tiles(const Source<T>& source, std::int64_t words, float* out) {
  static_assert(P % W == 0);
  const std::int64_t whole = source.length / Unit::kDepth;
  for (std::int64_t p = 0; p < words; p += W)
    for (int first = 0; first < P; first += W, out += W * W) {
      Vector<W> rows[W];
      if (source.along == 1 && p + W <= whole) {
        read_along<W, Unit>(rows, source, first, p);
      } else if (source.across == 1 && p + W <= whole && first + W <= source.count) {
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i)
          Unit::template across<W>(rows[i], source.at(first, (p + i) * Unit::kDepth), source.along);
        transpose<W>(rows);
      } else {
        for (int i = 0; i < W; ++i)
          for (int j = 0; j < W; ++j) out[i * W + j] = word_of<Unit>(source, first + i, p + j);
        continue;
      }
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) write(rows[i], out + i * W);
    }
}

}  // namespace arsbench
