// The softmax pass, vectorised by the compiler at each vector level. Independent of torch.
#include <algorithm>
#include <cmath>
#include <limits>

#include "../common/exponential.h"
#include "../common/loops.h"
#include "linear_cross_entropy.h"

namespace arsbench {
namespace {

// A vocabulary has tens of thousands of entries: sums over this many elements are in float32, and those
// partial sums are added in double. This many elements also stay in the L1 cache between two loops.
constexpr std::int64_t kStretch = 1024;

// The largest element; if any is NaN, the result is unspecified.
template <class T>
ARSBENCH_INLINE Compute<T> maximum(std::int64_t n, const T* x) {
  using S = Compute<T>;
  S lanes[4 * kLanes];
  std::fill_n(lanes, 4 * kLanes, -std::numeric_limits<S>::infinity());
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    ARSBENCH_INDEPENDENT
    for (int lane = 0; lane < 4 * kLanes; ++lane) {
      const S value = load(x[i + lane]);
      lanes[lane] = value > lanes[lane] ? value : lanes[lane];
    }
  }
  for (; i < n; ++i) lanes[0] = std::max<S>(lanes[0], load(x[i]));
  return *std::max_element(lanes, lanes + 4 * kLanes);
}

struct SoftmaxPass {
  template <class T>
  static ARSBENCH_INLINE TokenResult<Compute<T>> run(std::int64_t n, T* x, std::int64_t target,
                                                     Compute<T> factor, bool gradient) {
    using S = Compute<T>;
    const S largest = maximum(n, x);
    double sum = 0, weighted = 0;  // Σ e^(x − largest), Σ e^(x − largest)·(x − largest)
    for (std::int64_t begin = 0; begin < n; begin += kStretch) {
      S sums[kLanes] = {}, products[kLanes] = {};
      for_each_in_lanes(std::min(kStretch, n - begin),
                        [&](std::int64_t i, int lane) __attribute__((always_inline)) {
                          const S shifted = load(x[begin + i]) - largest;
                          const S e = exp_nonpositive(shifted);
                          sums[lane] += e;
                          // A probability of 0 adds nothing, even if its logarithm is −∞.
                          products[lane] += e * std::max(shifted, std::numeric_limits<S>::lowest());
                        });
      for (int lane = 0; lane < kLanes; ++lane) {
        sum += sums[lane];
        weighted += products[lane];
      }
    }
    const double log_sum = std::log(sum);
    TokenResult<S> result{0, static_cast<S>(log_sum - weighted / sum)};
    const double log_p = target < 0 ? 0 : static_cast<double>(load(x[target])) - largest - log_sum;
    if (target >= 0) result.loss = static_cast<S>(-log_p);
    if (!gradient) return result;
    if (target < 0) {
      std::fill_n(x, n, T{});
      return result;
    }
    const S scale = static_cast<S>(factor / sum);
    ARSBENCH_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) store(x[i], scale * exp_nonpositive(load(x[i]) - largest));
    // p − 1 without the cancellation of a p near 1.
    store(x[target], static_cast<S>(factor * std::expm1(log_p)));
    return result;
  }
};

}  // namespace

template <class T>
TokenResult<Compute<T>> softmax_pass(std::int64_t n, T* x, std::int64_t target, Compute<T> factor,
                                     bool gradient) {
  return run_widest<SoftmaxPass>(n, x, target, factor, gradient);
}

template TokenResult<float> softmax_pass(std::int64_t, float*, std::int64_t, float, bool);
template TokenResult<double> softmax_pass(std::int64_t, double*, std::int64_t, double, bool);
template TokenResult<float> softmax_pass(std::int64_t, BFloat16*, std::int64_t, float, bool);

}  // namespace arsbench
