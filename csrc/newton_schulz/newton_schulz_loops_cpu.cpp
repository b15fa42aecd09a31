// The loops over memory, vectorised by the compiler at each vector level. Independent of torch.
#include <algorithm>

#include "../common/loops.h"
#include "newton_schulz.h"

namespace arsbench {
namespace {

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

struct Scale {
  template <class In, class Out>
  static ARSBENCH_INLINE void run(std::int64_t n, const In* in, Out* out, double factor) {
    ARSBENCH_INDEPENDENT
    // In double: the factor itself may be too large or too small for float32.
    for (std::int64_t i = 0; i < n; ++i) store(out[i], static_cast<Compute<Out>>(factor * load(in[i])));
  }
};

struct Mirror {
  template <class T>
  static ARSBENCH_INLINE void run(std::int64_t size, std::int64_t first, std::int64_t last, T* matrix,
                                  double diagonal) {
    for (std::int64_t i = first; i < last; ++i) {
      T& own = matrix[i * size + i];
      store(own, static_cast<Compute<T>>(load(own) + diagonal));
    }
    // Columns in strips, so that the transposed writes of a strip stay within few cache lines.
    constexpr std::int64_t kStrip = 16;
    for (std::int64_t begin = 0; begin < last; begin += kStrip) {
      for (std::int64_t row = std::max(first, begin); row < last; ++row) {
        const std::int64_t end = std::min(begin + kStrip, row);
        for (std::int64_t column = begin; column < end; ++column)
          matrix[column * size + row] = matrix[row * size + column];
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
void scale(std::int64_t n, const In* in, Out* out, double factor) {
  run_widest<Scale>(n, in, out, factor);
}

template <class T>
void mirror(std::int64_t size, std::int64_t first, std::int64_t last, T* matrix, double diagonal) {
  run_widest<Mirror>(size, first, last, matrix, diagonal);
}

template double square_sum(std::int64_t, const float*);
template double square_sum(std::int64_t, const double*);
template double square_sum(std::int64_t, const BFloat16*);
template void scale(std::int64_t, const float*, float*, double);
template void scale(std::int64_t, const float*, BFloat16*, double);
template void scale(std::int64_t, const BFloat16*, float*, double);
template void scale(std::int64_t, const BFloat16*, BFloat16*, double);
template void scale(std::int64_t, const double*, double*, double);
template void mirror(std::int64_t, std::int64_t, std::int64_t, float*, double);
template void mirror(std::int64_t, std::int64_t, std::int64_t, double*, double);
template void mirror(std::int64_t, std::int64_t, std::int64_t, BFloat16*, double);

}  // namespace arsbench
