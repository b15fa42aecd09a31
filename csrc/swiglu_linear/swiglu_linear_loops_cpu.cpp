// The loops over memory, vectorised by the compiler at each vector level. Independent of torch.
#include <cmath>

#include "../common/exponential.h"
#include "../common/loops.h"
#include "swiglu_linear.h"

namespace arsbench {
namespace {

// 1/(1 + e⁻ˣ), computed from an exponential that cannot overflow.
template <class S>
ARSBENCH_INLINE S sigmoid(S x) {
  const S e = exp_nonpositive(-std::abs(x));
  return (x < 0 ? e : S{1}) / (1 + e);
}

struct SwiGLU {
  template <class T>
  static ARSBENCH_INLINE void run(std::int64_t n, const T* gate, const T* up, T* out) {
    ARSBENCH_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) {
      const Compute<T> g = load(gate[i]);
      store(out[i], g * sigmoid(g) * load(up[i]));
    }
  }
};

struct SwiGLUBackward {
  template <class T, class G>
  static ARSBENCH_INLINE void run(std::int64_t n, const G* grad, const T* gate, const T* up, T* grad_gate,
                                  T* grad_up) {
    ARSBENCH_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) {
      const Compute<T> own = load(grad[i]), g = load(gate[i]), u = load(up[i]), s = sigmoid(g);
      store(grad_gate[i], own * u * s * (1 + g * (1 - s)));
      store(grad_up[i], own * g * s);
    }
  }
};

}  // namespace

template <class T>
void swiglu(std::int64_t n, const T* gate, const T* up, T* out) {
  run_widest<SwiGLU>(n, gate, up, out);
}

template <class T, class G>
void swiglu_backward(std::int64_t n, const G* grad, const T* gate, const T* up, T* grad_gate, T* grad_up) {
  run_widest<SwiGLUBackward>(n, grad, gate, up, grad_gate, grad_up);
}

#define ARSBENCH_INSTANTIATE(T, G) \
  template void swiglu_backward(std::int64_t, const G*, const T*, const T*, T*, T*);

template void swiglu(std::int64_t, const float*, const float*, float*);
template void swiglu(std::int64_t, const double*, const double*, double*);
template void swiglu(std::int64_t, const BFloat16*, const BFloat16*, BFloat16*);
ARSBENCH_INSTANTIATE(float, float)
ARSBENCH_INSTANTIATE(double, double)
ARSBENCH_INSTANTIATE(BFloat16, float)
ARSBENCH_INSTANTIATE(BFloat16, BFloat16)
#undef ARSBENCH_INSTANTIATE

}  // namespace arsbench
