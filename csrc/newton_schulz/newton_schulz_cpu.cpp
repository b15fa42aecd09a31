// Newton-Schulz on the CPU: the products are ATen's, everything between them is fused, and of the two
// symmetric products only the lower half is computed.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "../common/checks.h"
#include "newton_schulz.h"

namespace arsbench {

// On machines without bfloat16 dot products ATen's bfloat16 matrix product runs at a quarter of float32's
// speed (measured: 50 against 200 GFLOP/s on two cores with AVX-512), and the float32 product of bfloat16
// values is at least as exact. Arm machines take float32 as well until somebody has measured one.
// ARSBENCH_BF16_PRODUCTS=0 or 1 in the environment overrides the choice.
bool bfloat16_products() {
  static const bool chosen = [] {
    const char* wanted = std::getenv("ARSBENCH_BF16_PRODUCTS");
    if (wanted != nullptr && *wanted != '\0') {
      TORCH_CHECK(std::string(wanted) == "0" || std::string(wanted) == "1",
                  "ARSBENCH_BF16_PRODUCTS must be 0 or 1, not \"", wanted, "\"");
      return *wanted == '1';
    }
#if defined(__x86_64__)
    return static_cast<bool>(__builtin_cpu_supports("avx512bf16"));
#else
    return false;
#endif
  }();
  return chosen;
}

namespace {

using at::Tensor;

constexpr double kNormEps = 1e-7;
constexpr int64_t kGrain = 32768;  // elements that are worth a thread

// Symmetric products are computed in this many bands of rows, each up to the diagonal: 10/16 of the work.
// Below the given size one plain product is faster.
constexpr int64_t kBands = 4;
constexpr int64_t kSmallestBanded = 256;

// out ← alpha·P·Q + beta·C, (size, size), known to be symmetric; rounded if T is float.
template <class T>
void symmetric_product(Tensor& out, const Tensor& P, const Tensor& Q, double alpha, const Tensor& C,
                       double beta) {
  const int64_t size = out.size(0);
  const int64_t bands = size < kSmallestBanded ? 1 : kBands;
  for (int64_t band = 0; band < bands; ++band) {
    const int64_t first = size * band / bands, last = size * (band + 1) / bands;
    Tensor rows = out.narrow(0, first, last - first).narrow(1, 0, last);
    const Tensor left = P.narrow(0, first, last - first), right = Q.narrow(1, 0, last);
    if (beta == 0) {
      at::mm_out(rows, left, right);
    } else {
      at::addmm_out(rows, C.narrow(0, first, last - first).narrow(1, 0, last), left, right, beta, alpha);
    }
  }
  T* matrix = static_cast<T*>(out.data_ptr());
  // A row has size/2 elements to copy on average.
  at::parallel_for(0, size, std::max<int64_t>(1, 2 * kGrain / size),
                   [&](int64_t begin, int64_t end) { round_and_mirror(size, begin, end, matrix); });
}

// One contiguous matrix. In is the type of its elements; Work that of the iterates: double for double, else
// BFloat16, or float holding bfloat16 values.
template <class In, class Work>
Tensor orthogonalise(const Tensor& matrix, int64_t steps, at::ArrayRef<double> coefficients) {
  const int64_t n = matrix.numel();
  const In* in = static_cast<const In*>(matrix.const_data_ptr());
  std::vector<double> squares((n + kGrain - 1) / kGrain);
  at::parallel_for(0, static_cast<int64_t>(squares.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      squares[i] = square_sum(std::min(kGrain, n - i * kGrain), in + i * kGrain);
  });
  const double norm = std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));

  constexpr at::ScalarType kWork = std::is_same_v<Work, double>  ? at::kDouble
                                   : std::is_same_v<Work, float> ? at::kFloat
                                                                 : at::kBFloat16;
  Tensor current = at::empty(matrix.sizes(), matrix.options().dtype(kWork));
  Work* scaled = static_cast<Work*>(current.data_ptr());
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    scale_and_round(end - begin, in + begin, scaled + begin, 1 / (norm + kNormEps));
  });

  // A matrix with more rows than columns is iterated as its transpose: a view, which costs nothing.
  const bool tall = matrix.size(0) > matrix.size(1);
  const int64_t shorter = std::min(matrix.size(0), matrix.size(1));
  Tensor next = at::empty_like(current);
  Tensor A = at::empty({shorter, shorter}, current.options()), B = at::empty_like(A);
  for (int64_t step = 0; step < steps; ++step) {
    const Tensor X = tall ? current.t() : current;  // (short, long)
    Tensor Y = tall ? next.t() : next;
    symmetric_product<Work>(A, X, X.t(), 1, A, 0);
    symmetric_product<Work>(B, A, A, coefficients[2], A, coefficients[1]);
    at::addmm_out(Y, X, B, X, coefficients[0], 1);
    Work* values = static_cast<Work*>(next.data_ptr());
    at::parallel_for(0, n, kGrain,
                     [&](int64_t begin, int64_t end) { round_values(end - begin, values + begin); });
    std::swap(current, next);
  }
  return current;
}

Tensor orthogonalise(const Tensor& matrix, int64_t steps, at::ArrayRef<double> coefficients) {
  switch (matrix.scalar_type()) {
    case at::kDouble:
      return orthogonalise<double, double>(matrix, steps, coefficients);
    case at::kFloat:
      return bfloat16_products() ? orthogonalise<float, BFloat16>(matrix, steps, coefficients)
                                 : orthogonalise<float, float>(matrix, steps, coefficients);
    default:
      return bfloat16_products() ? orthogonalise<BFloat16, BFloat16>(matrix, steps, coefficients)
                                 : orthogonalise<BFloat16, float>(matrix, steps, coefficients);
  }
}

Tensor newton_schulz(const Tensor& x, int64_t steps, at::ArrayRef<double> coefficients) {
  check_supported("newton_schulz", "x", x);
  TORCH_CHECK_VALUE(x.dim() >= 2, "newton_schulz: x must have at least two dimensions, not ", x.dim());
  TORCH_CHECK_VALUE(steps >= 0, "newton_schulz: steps must be 0 or more, not ", steps);
  TORCH_CHECK_VALUE(coefficients.size() == 3, "newton_schulz: three coefficients are needed, not ",
                    coefficients.size());
  Tensor out = at::empty(x.sizes(), x.options());
  if (x.numel() == 0) return out;
  const Tensor in = x.detach().contiguous().view({-1, x.size(-2), x.size(-1)});
  const Tensor results = out.view(in.sizes());
  const int64_t batch = in.size(0);
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) results[i].copy_(orthogonalise(in[i], steps, coefficients));
  };
  // Matrices to each thread where there are enough of them (the products inside then run on that thread
  // alone), threads to each product otherwise.
  if (batch >= at::get_num_threads()) {
    at::parallel_for(0, batch, 1, run);
  } else {
    run(0, batch);
  }
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(arsbench, CPU, library) { library.impl("newton_schulz", newton_schulz); }

}  // namespace arsbench
