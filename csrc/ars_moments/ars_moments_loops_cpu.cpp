// The loops over memory, vectorised by the compiler at each vector level. Independent of torch.
#include <algorithm>
#include <cmath>

#include "../common/loops.h"
#include "../common/stream.h"
#include "ars_moments.h"

namespace arsbench {
namespace {

// Elements computed before they are streamed: few enough to stay in a core's L1 cache.
constexpr std::int64_t kBlock = 1024;

// The scalars of AscentParameters in the precision of the computation.
template <class S>
struct Ascent {
  S inverse_correction, eps;
  bool adaptive;

  explicit Ascent(const AscentParameters& p)
      : inverse_correction(static_cast<S>(p.inverse_correction)),
        eps(static_cast<S>(p.eps)),
        adaptive(p.adaptive) {}

  ARSBENCH_INLINE S operator()(S param, S grad, S second) const {
    const S n = grad * (eps / (std::sqrt(second * inverse_correction) + eps));
    return adaptive ? n * std::abs(param) : n;
  }
};

struct AscentSquareSum {
  template <class T>
  static ARSBENCH_INLINE double run(std::int64_t n, const T* param, const T* grad,
                                    const Compute<T>* exp_avg_sq, AscentParameters parameters) {
    const Ascent<Compute<T>> ascent(parameters);
    double lanes[kLanes] = {};
    for_each_in_lanes(
        n,
        [&](std::int64_t i, int lane) __attribute__((always_inline)) {
          const double direction = ascent(load(param[i]), load(grad[i]), exp_avg_sq[i]);
          lanes[lane] += direction * direction;
        },
        param, grad, exp_avg_sq);
    return total(lanes);
  }
};

struct Ascend {
  template <class T>
  static ARSBENCH_INLINE void run(std::int64_t n, T* param, T* backup, const T* grad,
                                  const Compute<T>* exp_avg_sq, double factor, AscentParameters parameters) {
    const Ascent<Compute<T>> ascent(parameters);
    const auto scale = static_cast<Compute<T>>(factor);
    T before[kBlock];
    for (std::int64_t begin = 0; begin < n; begin += kBlock) {
      const std::int64_t size = std::min(n - begin, kBlock);
      T* p = param + begin;
      const T* g = grad + begin;
      const Compute<T>* v = exp_avg_sq + begin;
      for_each_in_lanes(
          size,
          [&](std::int64_t i, int) __attribute__((always_inline)) {
            const Compute<T> value = load(p[i]);
            before[i] = p[i];
            store(p[i], value + scale * ascent(value, load(g[i]), v[i]));
          },
          p, g, v);
      stream(backup + begin, before, size);
    }
    stream_end();
  }
};

struct DotProducts {
  template <class T, class U>
  static ARSBENCH_INLINE Dots run(std::int64_t n, const T* x, const U* y) {
    double xx[kLanes] = {}, yy[kLanes] = {}, xy[kLanes] = {};
    for_each_in_lanes(
        n,
        [&](std::int64_t i, int lane) __attribute__((always_inline)) {
          const double a = load(x[i]), b = load(y[i]);
          xx[lane] += a * a;
          yy[lane] += b * b;
          xy[lane] += a * b;
        },
        x, y);
    return {total(xx), total(yy), total(xy)};
  }
};

struct SubtractScaled {
  template <class T>
  static ARSBENCH_INLINE void run(std::int64_t n, Compute<T>* out, const T* x, const T* y, double factor) {
    const auto scale = static_cast<Compute<T>>(factor);
    Compute<T> block[kBlock];
    for (std::int64_t begin = 0; begin < n; begin += kBlock) {
      const std::int64_t size = std::min(n - begin, kBlock);
      const T *a = x + begin, *b = y + begin;
      for_each_in_lanes(
          size,
          [&](std::int64_t i, int)
              __attribute__((always_inline)) { block[i] = load(a[i]) - scale * load(b[i]); },
          a, b);
      stream(out + begin, block, size);
    }
    stream_end();
  }
};

// The larger of two numbers, or NaN if either is NaN; std::max does not guarantee the latter.
template <class S>
ARSBENCH_INLINE S maximum(S x, S y) {
  return x > y || x != x ? x : y;
}

// One element's moment update. The options are template parameters, so that the loop has no branch.
template <class S, bool kInject, SecondMoment kSecondMoment>
struct Moments {
  S beta1, beta2, rest1, rest2, eps, inverse_correction1, inverse_correction2, strength;

  Moments(const MomentParameters& p, double strength)
      : beta1(static_cast<S>(p.beta1)),
        beta2(static_cast<S>(p.beta2)),
        rest1(static_cast<S>(1 - p.beta1)),
        rest2(static_cast<S>(1 - p.beta2)),
        eps(static_cast<S>(p.eps)),
        inverse_correction1(static_cast<S>(p.inverse_correction1)),
        inverse_correction2(static_cast<S>(p.inverse_correction2)),
        strength(static_cast<S>(strength)) {}

  // Returns the whitened moment s and writes the injected gradient g' to grad.
  ARSBENCH_INLINE S operator()(S& grad, S& exp_avg, S& exp_avg_sq, const S* flat, std::int64_t i) const {
    S second = grad;
    if constexpr (kInject) {
      grad += strength * flat[i];
      if constexpr (kSecondMoment == SecondMoment::injected) second = grad;
    }
    exp_avg = beta1 * exp_avg + rest1 * grad;
    exp_avg_sq = beta2 * exp_avg_sq + rest2 * second * second;
    if constexpr (kSecondMoment == SecondMoment::bounded)
      exp_avg_sq = maximum(exp_avg_sq, rest2 * grad * grad);
    return exp_avg * inverse_correction1 / (std::sqrt(exp_avg_sq * inverse_correction2) + eps);
  }
};

template <bool kInject, SecondMoment kSecondMoment>
struct Whiten {
  template <class T>
  static ARSBENCH_INLINE MomentSums run(std::int64_t n, const T* grad, Compute<T>* exp_avg,
                                        Compute<T>* exp_avg_sq, const Compute<T>* flat, double strength,
                                        Compute<T>* direction, MomentParameters parameters) {
    const Moments<Compute<T>, kInject, kSecondMoment> moments(parameters, strength);
    double whitened[kLanes] = {}, injected[kLanes] = {};
    for_each_in_lanes(
        n,
        [&](std::int64_t i, int lane) __attribute__((always_inline)) {
          Compute<T> g = load(grad[i]);
          direction[i] = moments(g, exp_avg[i], exp_avg_sq[i], flat, i);
          const double s = direction[i], consumed = g;
          whitened[lane] += s * s;
          injected[lane] += consumed * consumed;
        },
        grad, exp_avg, exp_avg_sq);
    return {total(whitened), total(injected)};
  }
};

template <bool kInject, SecondMoment kSecondMoment>
struct AdamW {
  template <class T>
  static ARSBENCH_INLINE double run(std::int64_t n, T* param, const T* grad, Compute<T>* exp_avg,
                                    Compute<T>* exp_avg_sq, const Compute<T>* flat, double strength,
                                    double lr, double decay, MomentParameters parameters) {
    const Moments<Compute<T>, kInject, kSecondMoment> moments(parameters, strength);
    const auto rate = static_cast<Compute<T>>(lr), keep = static_cast<Compute<T>>(decay);
    double injected[kLanes] = {};
    for_each_in_lanes(n, [&](std::int64_t i, int lane) __attribute__((always_inline)) {
      Compute<T> g = load(grad[i]);
      const Compute<T> s = moments(g, exp_avg[i], exp_avg_sq[i], flat, i);
      store(param[i], load(param[i]) * keep - rate * s);
      const double consumed = g;
      injected[lane] += consumed * consumed;
    });
    return total(injected);
  }
};

struct DecayAndStep {
  template <class T>
  static ARSBENCH_INLINE void run(std::int64_t n, T* param, const Compute<T>* direction, double factor,
                                  double decay) {
    const auto scale = static_cast<Compute<T>>(factor), keep = static_cast<Compute<T>>(decay);
    ARSBENCH_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) store(param[i], load(param[i]) * keep - scale * direction[i]);
  }
};

// Runs the loop compiled for the choice of second moment, which has an effect only if something is injected.
template <template <bool, SecondMoment> class Loop, class... Arguments>
auto run_injecting(bool inject, SecondMoment second_moment, Arguments... arguments) {
  if (!inject) return run_widest<Loop<false, SecondMoment::plain>>(arguments...);
  switch (second_moment) {
    case SecondMoment::bounded:
      return run_widest<Loop<true, SecondMoment::bounded>>(arguments...);
    case SecondMoment::injected:
      return run_widest<Loop<true, SecondMoment::injected>>(arguments...);
    case SecondMoment::plain:
      break;
  }
  return run_widest<Loop<true, SecondMoment::plain>>(arguments...);
}

}  // namespace

template <class T>
double ascent_square_sum(std::int64_t n, const T* param, const T* grad, const Compute<T>* exp_avg_sq,
                         AscentParameters parameters) {
  return run_widest<AscentSquareSum>(n, param, grad, exp_avg_sq, parameters);
}

template <class T>
void ascend(std::int64_t n, T* param, T* backup, const T* grad, const Compute<T>* exp_avg_sq, double factor,
            AscentParameters parameters) {
  run_widest<Ascend>(n, param, backup, grad, exp_avg_sq, factor, parameters);
}

template <class T, class U>
Dots dots(std::int64_t n, const T* x, const U* y) {
  return run_widest<DotProducts>(n, x, y);
}

template <class T>
void subtract_scaled(std::int64_t n, Compute<T>* out, const T* x, const T* y, double factor) {
  run_widest<SubtractScaled>(n, out, x, y, factor);
}

template <class T>
MomentSums whiten(std::int64_t n, const T* grad, Compute<T>* exp_avg, Compute<T>* exp_avg_sq,
                  const Compute<T>* flat, double strength, Compute<T>* direction,
                  MomentParameters parameters) {
  return run_injecting<Whiten>(flat != nullptr, parameters.second_moment, n, grad, exp_avg, exp_avg_sq, flat,
                               strength, direction, parameters);
}

template <class T>
double adamw(std::int64_t n, T* param, const T* grad, Compute<T>* exp_avg, Compute<T>* exp_avg_sq,
             const Compute<T>* flat, double strength, double lr, double decay, MomentParameters parameters) {
  return run_injecting<AdamW>(flat != nullptr, parameters.second_moment, n, param, grad, exp_avg, exp_avg_sq,
                              flat, strength, lr, decay, parameters);
}

template <class T>
void decay_and_step(std::int64_t n, T* param, const Compute<T>* direction, double factor, double decay) {
  run_widest<DecayAndStep>(n, param, direction, factor, decay);
}

#define ARSBENCH_INSTANTIATE(T)                                                                             \
  template double ascent_square_sum(std::int64_t, const T*, const T*, const Compute<T>*, AscentParameters); \
  template void ascend(std::int64_t, T*, T*, const T*, const Compute<T>*, double, AscentParameters);        \
  template Dots dots(std::int64_t, const T*, const T*);                                                     \
  template void subtract_scaled(std::int64_t, Compute<T>*, const T*, const T*, double);                     \
  template MomentSums whiten(std::int64_t, const T*, Compute<T>*, Compute<T>*, const Compute<T>*, double,   \
                             Compute<T>*, MomentParameters);                                                \
  template double adamw(std::int64_t, T*, const T*, Compute<T>*, Compute<T>*, const Compute<T>*, double,    \
                        double, double, MomentParameters);                                                  \
  template void decay_and_step(std::int64_t, T*, const Compute<T>*, double, double);

ARSBENCH_INSTANTIATE(float)
ARSBENCH_INSTANTIATE(double)
ARSBENCH_INSTANTIATE(BFloat16)
#undef ARSBENCH_INSTANTIATE

// bfloat16 gradients with their float32 flatness vectors.
template Dots dots(std::int64_t, const BFloat16*, const float*);

}  // namespace arsbench
