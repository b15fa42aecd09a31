// The loops over rows, vectorised by the compiler at each vector level. Independent of torch.
#include "../common/loops.h"
#include "rms_norm.h"

namespace arsbench {
namespace {

struct RMSNorm {
  template <class T>
  static ARSBENCH_INLINE void run(std::int64_t rows, std::int64_t size, const T* x, const Compute<T>* weight,
                                  Compute<T> eps, T* out) {
    for (std::int64_t row = 0; row < rows; ++row, x += size, out += size) {
      const Compute<T> scale = inverse_rms(size, x, eps);
      ARSBENCH_INDEPENDENT
      for (std::int64_t i = 0; i < size; ++i) store(out[i], load(x[i]) * scale * weight[i]);
    }
  }
};

struct RMSNormBackward {
  template <class T>
  static ARSBENCH_INLINE void run(std::int64_t rows, std::int64_t size, const T* grad, const T* x,
                                  const Compute<T>* weight, Compute<T> eps, T* grad_x,
                                  Compute<T>* grad_weight) {
    using S = Compute<T>;
    for (std::int64_t row = 0; row < rows; ++row, grad += size, x += size, grad_x += size) {
      const S scale = inverse_rms(size, x, eps);
      S products[kLanes] = {};
      for_each_in_lanes(size, [&](std::int64_t i, int lane) __attribute__((always_inline)) {
        const S product = load(grad[i]) * load(x[i]) * scale;
        grad_weight[i] += product;
        products[lane] += product * weight[i];
      });
      const S mean = total(products) / static_cast<S>(size);
      ARSBENCH_INDEPENDENT
      for (std::int64_t i = 0; i < size; ++i)
        store(grad_x[i], (load(grad[i]) * weight[i] - load(x[i]) * scale * mean) * scale);
    }
  }
};

}  // namespace

template <class T>
void normalize_rows(std::int64_t rows, std::int64_t size, const T* x, const Compute<T>* weight,
                    Compute<T> eps, T* out) {
  run_widest<RMSNorm>(rows, size, x, weight, eps, out);
}

template <class T>
void normalize_rows_backward(std::int64_t rows, std::int64_t size, const T* grad, const T* x,
                             const Compute<T>* weight, Compute<T> eps, T* grad_x, Compute<T>* grad_weight) {
  run_widest<RMSNormBackward>(rows, size, grad, x, weight, eps, grad_x, grad_weight);
}

#define ARSBENCH_INSTANTIATE(T)                                                                            \
  template void normalize_rows(std::int64_t, std::int64_t, const T*, const Compute<T>*, Compute<T>, T*);   \
  template void normalize_rows_backward(std::int64_t, std::int64_t, const T*, const T*, const Compute<T>*, \
                                        Compute<T>, T*, Compute<T>*);

ARSBENCH_INSTANTIATE(float)
ARSBENCH_INSTANTIATE(double)
ARSBENCH_INSTANTIATE(BFloat16)
#undef ARSBENCH_INSTANTIATE

}  // namespace arsbench
