// The loops over rows, vectorised by the compiler at each vector level. Independent of torch.
#include <algorithm>
#include <cmath>
#include <limits>

#include "../common/exponential.h"
#include "../common/loops.h"
#include "rope_attention.h"

namespace arsbench {
namespace {

struct NormalizeAndRotate {
  template <class T, class S>
  static ARSBENCH_INLINE void run(std::int64_t rows, const T* x, std::int64_t stride, S* out,
                                  NormAndRotation<S> p) {
    const std::int64_t half = p.head_dim / 2;
    for (std::int64_t row = 0; row < rows; ++row, x += stride, out += p.head_dim) {
      const S scale = p.factor * inverse_rms(p.head_dim, x, p.eps);
      const S *cos = p.cos + row * half, *sin = p.sin + row * half;
      ARSBENCH_INDEPENDENT
      for (std::int64_t i = 0; i < half; ++i) {
        const S a = load(x[i]) * scale * p.weight[i], b = load(x[half + i]) * scale * p.weight[half + i];
        out[i] = a * cos[i] - b * sin[i];
        out[half + i] = b * cos[i] + a * sin[i];
      }
    }
  }
};

struct NormalizeAndRotateBackward {
  template <class T, class S>
  static ARSBENCH_INLINE void run(std::int64_t rows, S* grad, const T* x, std::int64_t stride, T* grad_x,
                                  std::int64_t grad_stride, S* grad_weight, NormAndRotation<S> p) {
    const std::int64_t D = p.head_dim, half = D / 2;
    for (std::int64_t row = 0; row < rows; ++row, x += stride, grad_x += grad_stride, grad += D) {
      const S scale = inverse_rms(D, x, p.eps);
      const S *cos = p.cos + row * half, *sin = p.sin + row * half;
      // The transpose of a rotation is the rotation by the opposite angle.
      ARSBENCH_INDEPENDENT
      for (std::int64_t i = 0; i < half; ++i) {
        const S a = grad[i] * p.factor, b = grad[half + i] * p.factor;
        grad[i] = a * cos[i] + b * sin[i];
        grad[half + i] = b * cos[i] - a * sin[i];
      }
      S products[kLanes] = {};
      for_each_in_lanes(D, [&](std::int64_t i, int lane) __attribute__((always_inline)) {
        const S normalized = load(x[i]) * scale;
        grad_weight[i] += grad[i] * normalized;
        grad[i] *= p.weight[i];
        products[lane] += grad[i] * normalized;
      });
      const S mean = total(products) / static_cast<S>(D);
      ARSBENCH_INDEPENDENT
      for (std::int64_t i = 0; i < D; ++i) store(grad_x[i], (grad[i] - load(x[i]) * scale * mean) * scale);
    }
  }
};

struct GatherRows {
  template <class T, class S>
  static ARSBENCH_INLINE void run(std::int64_t rows, std::int64_t head_dim, const T* x, std::int64_t stride,
                                  S* out) {
    for (std::int64_t row = 0; row < rows; ++row, x += stride, out += head_dim) {
      ARSBENCH_INDEPENDENT
      for (std::int64_t i = 0; i < head_dim; ++i) out[i] = load(x[i]);
    }
  }
};

struct ScatterRows {
  template <class T, class S>
  static ARSBENCH_INLINE void run(std::int64_t rows, std::int64_t head_dim, const S* x, const S* factors,
                                  T* out, std::int64_t stride) {
    for (std::int64_t row = 0; row < rows; ++row, x += head_dim, out += stride) {
      const S factor = factors == nullptr ? 1 : factors[row];
      ARSBENCH_INDEPENDENT
      for (std::int64_t i = 0; i < head_dim; ++i) store(out[i], factor * x[i]);
    }
  }
};

struct RowDots {
  template <class T, class S>
  static ARSBENCH_INLINE void run(std::int64_t rows, std::int64_t head_dim, const S* x, const T* y,
                                  std::int64_t stride, S* out) {
    for (std::int64_t row = 0; row < rows; ++row, x += head_dim, y += stride) {
      S products[kLanes] = {};
      for_each_in_lanes(head_dim, [&](std::int64_t i, int lane) __attribute__((always_inline)) {
        products[lane] += x[i] * load(y[i]);
      });
      out[row] = total(products);
    }
  }
};

struct CausalSoftmax {
  template <class S>
  static ARSBENCH_INLINE void run(std::int64_t rows, std::int64_t first, std::int64_t columns, S* scores,
                                  S* inverse_sums, S* lse) {
    for (std::int64_t row = 0; row < rows; ++row, scores += columns) {
      const std::int64_t seen = first + row + 1;
      S largest_in[kLanes];
      std::fill_n(largest_in, kLanes, -std::numeric_limits<S>::infinity());
      for_each_in_lanes(seen, [&](std::int64_t i, int lane) __attribute__((always_inline)) {
        largest_in[lane] = scores[i] > largest_in[lane] ? scores[i] : largest_in[lane];
      });
      const S largest = *std::max_element(largest_in, largest_in + kLanes);
      S sums[kLanes] = {};
      for_each_in_lanes(seen, [&](std::int64_t i, int lane) __attribute__((always_inline)) {
        scores[i] = exp_nonpositive(scores[i] - largest);
        sums[lane] += scores[i];
      });
      std::fill(scores + seen, scores + columns, S{0});
      const S sum = total(sums);
      inverse_sums[row] = 1 / sum;
      lse[row] = largest + std::log(sum);
    }
  }
};

struct CausalSoftmaxBackward {
  template <class S>
  static ARSBENCH_INLINE void run(std::int64_t rows, std::int64_t first, std::int64_t columns, S* scores,
                                  S* grads, const S* lse, const S* delta) {
    for (std::int64_t row = 0; row < rows; ++row, scores += columns, grads += columns) {
      const std::int64_t seen = first + row + 1;
      ARSBENCH_INDEPENDENT
      for (std::int64_t i = 0; i < seen; ++i) {
        // At most 1: rounding of score and lse can make the logarithm of a probability near 1 slightly
        // positive.
        const S difference = scores[i] - lse[row];
        const S p = exp_nonpositive(difference > 0 ? S{0} : difference);
        scores[i] = p;
        grads[i] = p * (grads[i] - delta[row]);
      }
      std::fill(scores + seen, scores + columns, S{0});
      std::fill(grads + seen, grads + columns, S{0});
    }
  }
};

}  // namespace

template <class T, class S>
void normalize_and_rotate(std::int64_t rows, const T* x, std::int64_t stride, S* out,
                          NormAndRotation<S> parameters) {
  run_widest<NormalizeAndRotate>(rows, x, stride, out, parameters);
}

template <class T, class S>
void normalize_and_rotate_backward(std::int64_t rows, S* grad, const T* x, std::int64_t stride, T* grad_x,
                                   std::int64_t grad_stride, S* grad_weight, NormAndRotation<S> parameters) {
  run_widest<NormalizeAndRotateBackward>(rows, grad, x, stride, grad_x, grad_stride, grad_weight, parameters);
}

template <class T, class S>
void gather_rows(std::int64_t rows, std::int64_t head_dim, const T* x, std::int64_t stride, S* out) {
  run_widest<GatherRows>(rows, head_dim, x, stride, out);
}

template <class T, class S>
void scatter_rows(std::int64_t rows, std::int64_t head_dim, const S* x, const S* factors, T* out,
                  std::int64_t stride) {
  run_widest<ScatterRows>(rows, head_dim, x, factors, out, stride);
}

template <class T, class S>
void row_dots(std::int64_t rows, std::int64_t head_dim, const S* x, const T* y, std::int64_t stride, S* out) {
  run_widest<RowDots>(rows, head_dim, x, y, stride, out);
}

template <class S>
void causal_softmax(std::int64_t rows, std::int64_t first, std::int64_t columns, S* scores, S* inverse_sums,
                    S* lse) {
  run_widest<CausalSoftmax>(rows, first, columns, scores, inverse_sums, lse);
}

template <class S>
void causal_softmax_backward(std::int64_t rows, std::int64_t first, std::int64_t columns, S* scores, S* grads,
                             const S* lse, const S* delta) {
  run_widest<CausalSoftmaxBackward>(rows, first, columns, scores, grads, lse, delta);
}

#define ARSBENCH_INSTANTIATE(T, S)                                                                        \
  template void normalize_and_rotate(std::int64_t, const T*, std::int64_t, S*, NormAndRotation<S>);       \
  template void normalize_and_rotate_backward(std::int64_t, S*, const T*, std::int64_t, T*, std::int64_t, \
                                              S*, NormAndRotation<S>);                                    \
  template void gather_rows(std::int64_t, std::int64_t, const T*, std::int64_t, S*);                      \
  template void scatter_rows(std::int64_t, std::int64_t, const S*, const S*, T*, std::int64_t);           \
  template void row_dots(std::int64_t, std::int64_t, const S*, const T*, std::int64_t, S*);

ARSBENCH_INSTANTIATE(float, float)
ARSBENCH_INSTANTIATE(double, double)
ARSBENCH_INSTANTIATE(BFloat16, float)
#undef ARSBENCH_INSTANTIATE

template void causal_softmax(std::int64_t, std::int64_t, std::int64_t, float*, float*, float*);
template void causal_softmax(std::int64_t, std::int64_t, std::int64_t, double*, double*, double*);
template void causal_softmax_backward(std::int64_t, std::int64_t, std::int64_t, float*, float*, const float*,
                                      const float*);
template void causal_softmax_backward(std::int64_t, std::int64_t, std::int64_t, double*, double*,
                                      const double*, const double*);

}  // namespace arsbench
