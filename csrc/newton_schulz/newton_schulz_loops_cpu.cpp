// The loops over memory, vectorised by the compiler at each vector level. No torch here.
#include <algorithm>

#include "../common/loops.h"
#include "newton_schulz.h"

namespace arsbench {
namespace {

ARSBENCH_INLINE void store_rounded(float& out, double value) {
  out = round_to_bfloat16(static_cast<float>(value));
}
ARSBENCH_INLINE void store_rounded(double& out, double value) { out = value; }
ARSBENCH_INLINE void store_rounded(BFloat16& out, double value) { store(out, static_cast<float>(value)); }

struct SquareSum {
  template <class T>
  static ARSBENCH_INLINE double run(std::int64_t n, const T* x) {
    double lanes[kLanes] = {};
    for_each_in_lanes(n, [&](std::int64_t i, int lane) __attribute__((always_inline)) {
      const double value = load(x[i]);
      lanes[lane] += value * value;
    });
    return total(lanes);
  }
};

struct ScaleAndRound {
  template <class In, class Out>
  static ARSBENCH_INLINE void run(std::int64_t n, const In* in, Out* out, double factor) {
    ARSBENCH_INDEPENDENT
    // In double: the factor itself may be too large or too small for float32.
    for (std::int64_t i = 0; i < n; ++i) store_rounded(out[i], factor * load(in[i]));
  }
};

struct RoundValues {
  static ARSBENCH_INLINE void run(std::int64_t n, float* x) {
    ARSBENCH_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) x[i] = round_to_bfloat16(x[i]);
  }
};

struct RoundAndMirror {
  template <class T>
  static ARSBENCH_INLINE void run(std::int64_t size, std::int64_t first, std::int64_t last, T* matrix) {
    // Columns in strips: the transposed writes of a strip stay within few cache lines.
    constexpr std::int64_t kStrip = 16;
    for (std::int64_t begin = 0; begin < last; begin += kStrip) {
      for (std::int64_t row = std::max(first, begin); row < last; ++row) {
        const std::int64_t end = std::min(begin + kStrip, row + 1);
        for (std::int64_t column = begin; column < end; ++column) {
          T& value = matrix[row * size + column];
          if constexpr (std::is_same_v<T, float>) value = round_to_bfloat16(value);
          matrix[column * size + row] = value;
        }
      }
    }
  }
};

}  // namespace

template <class T>
double square_sum(std::int64_t n, const T* x) {
  return run_widest<SquareSum>(n, x);
}

template <class In, class Out>
void scale_and_round(std::int64_t n, const In* in, Out* out, double factor) {
  run_widest<ScaleAndRound>(n, in, out, factor);
}

template <class T>
void round_values(std::int64_t n, T* x) {
  if constexpr (std::is_same_v<T, float>) run_widest<RoundValues>(n, x);
}

template <class T>
void round_and_mirror(std::int64_t size, std::int64_t first, std::int64_t last, T* matrix) {
  run_widest<RoundAndMirror>(size, first, last, matrix);
}

template double square_sum(std::int64_t, const float*);
template double square_sum(std::int64_t, const double*);
template double square_sum(std::int64_t, const BFloat16*);
template void scale_and_round(std::int64_t, const float*, float*, double);
template void scale_and_round(std::int64_t, const float*, BFloat16*, double);
template void scale_and_round(std::int64_t, const BFloat16*, float*, double);
template void scale_and_round(std::int64_t, const BFloat16*, BFloat16*, double);
template void scale_and_round(std::int64_t, const double*, double*, double);
template void round_values(std::int64_t, float*);
template void round_values(std::int64_t, double*);
template void round_values(std::int64_t, BFloat16*);
template void round_and_mirror(std::int64_t, std::int64_t, std::int64_t, float*);
template void round_and_mirror(std::int64_t, std::int64_t, std::int64_t, double*);
template void round_and_mirror(std::int64_t, std::int64_t, std::int64_t, BFloat16*);

}  // namespace arsbench
