// Newton-Schulz on the CPU. The products are ATen's; of symmetric products only the lower part is computed.
// Two forms compute the same polynomial of X:
//
// direct   A = XXᵀ, X ← (aI + bA + cA²)X, `steps` times: per step 2 products of n×n with n×m and one of n×n.
// Gram     A = XXᵀ once; P = aI + bA + cA², Q ← PQ, A ← P²A, `steps` times on n×n matrices; X ← QX once.
//          All are polynomials of one symmetric matrix, so they commute, and every product is symmetric.
//          Source: Dao-AILab, "Gram Newton-Schulz" (2026).
//
// newton_schulz.h contains the rule that selects the form.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "../common/checks.h"
#include "../common/products.h"
#include "newton_schulz.h"

namespace arsbench {
namespace {

using at::Tensor;
using Coefficients = at::ArrayRef<double>;

constexpr double kNormEps = 1e-7;
constexpr int64_t kGrain = 32768;  // minimum elements per thread

// The rounding of float32 can make an eigenvalue of the Gram matrix that should be tiny negative, by up to
// 1e-7 of the largest. Every step multiplies it by a² = 12. After this many steps, before it has an effect, X
// is formed and its Gram matrix computed anew.
constexpr int64_t kStepsPerGram = 5;

// out ← alpha·P·Q + beta·P + diagonal·I, which must be symmetric. Q may be Pᵀ.
template <class T>
void symmetric_product(const Tensor& out, const Tensor& P, const Tensor& Q, double alpha = 1, double beta = 0,
                       double diagonal = 0) {
  multiply_lower(out, P, Q, {alpha, beta}, P);
  const int64_t size = out.size(0);
  T* matrix = static_cast<T*>(out.data_ptr());
  // A row has size/2 elements to copy on average.
  at::parallel_for(0, size, std::max<int64_t>(1, 2 * kGrain / size),
                   [&](int64_t begin, int64_t end) { mirror(size, begin, end, matrix, diagonal); });
}

// One thread's buffers for matrices of (n, m), n ≤ m: allocated once and reused for one matrix after another.
struct Workspace {
  Tensor X, A, P, Q, spare;

  Workspace(int64_t rows, int64_t columns, bool gram, at::TensorOptions options)
      : X(at::empty({rows, columns}, options)) {
    const int64_t n = std::min(rows, columns);
    A = at::empty({n, n}, options);
    P = at::empty_like(A);
    if (!gram) return;
    Q = at::empty_like(A);
    spare = at::empty_like(A);
  }
};

// The polynomial applied `steps` times to X, (n, m) with n ≤ m. Uses `other`, of the same shape, as a buffer
// and returns the one of the two that contains the result.
template <class T>
Tensor direct_form(Tensor X, Tensor other, int64_t steps, Coefficients c, Workspace& w) {
  for (int64_t step = 0; step < steps; ++step) {
    symmetric_product<T>(w.A, X, X.t());
    symmetric_product<T>(w.P, w.A, w.A, c[2], c[1]);
    multiply(other, w.P, X, {1, c[0]}, X);
    std::swap(X, other);
  }
  return X;
}

Tensor gram_form(Tensor X, Tensor other, int64_t steps, Coefficients c, Workspace& w) {
  for (int64_t done = 0; done < steps;) {
    const int64_t count = std::min(kStepsPerGram, steps - done);
    symmetric_product<float>(w.A, X, X.t());
    for (int64_t step = 0; step < count; ++step) {
      const Tensor& factor = step == 0 ? w.Q : w.P;
      symmetric_product<float>(factor, w.A, w.A, c[2], c[1], c[0]);
      if (step + 1 < count) {
        symmetric_product<float>(w.spare, w.A, factor);
        symmetric_product<float>(w.A, w.spare, factor);
      }
      if (step > 0) {
        symmetric_product<float>(w.spare, w.P, w.Q);
        std::swap(w.Q, w.spare);
      }
    }
    multiply(other, w.Q, X);
    std::swap(X, other);
    done += count;
  }
  return X;
}

// out ← one contiguous matrix, orthogonalised. In: the type of both; Work: the type of the iterates.
template <class In, class Work>
void orthogonalise(const Tensor& matrix, const Tensor& out, bool gram, int64_t steps,
                   Coefficients coefficients, Workspace& w) {
  const int64_t elements = matrix.numel();
  const In* in = static_cast<const In*>(matrix.const_data_ptr());
  std::vector<double> squares((elements + kGrain - 1) / kGrain);
  at::parallel_for(0, static_cast<int64_t>(squares.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      squares[i] = square_sum(std::min(kGrain, elements - i * kGrain), in + i * kGrain);
  });
  const double norm = std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
  Work* scaled = static_cast<Work*>(w.X.data_ptr());
  at::parallel_for(0, elements, kGrain, [&](int64_t begin, int64_t end) {
    scale(end - begin, in + begin, scaled + begin, 1 / (norm + kNormEps));
  });

  // A matrix with more rows than columns is iterated as its transpose, which is a view.
  const bool tall = matrix.size(0) > matrix.size(1);
  const auto wide = [&](const Tensor& x) { return tall ? x.t() : x; };
  const Tensor other = std::is_same_v<In, Work> ? out : at::empty_like(w.X);
  const Tensor result = gram ? gram_form(wide(w.X), wide(other), steps, coefficients, w)
                             : direct_form<Work>(wide(w.X), wide(other), steps, coefficients, w);
  if (result.data_ptr() != out.data_ptr()) wide(out).copy_(result);
}

Tensor newton_schulz(const Tensor& x, int64_t steps, Coefficients coefficients) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  check_supported("newton_schulz", "x", x, at::kCPU);
  TORCH_CHECK_VALUE(x.dim() >= 2, "newton_schulz: x must have at least two dimensions, not ", x.dim());
  TORCH_CHECK_VALUE(steps >= 0, "newton_schulz: steps must be 0 or more, not ", steps);
  TORCH_CHECK_VALUE(coefficients.size() == 3, "newton_schulz: three coefficients are needed, not ",
                    coefficients.size());
  const Tensor out = at::empty(x.sizes(), x.options());
  if (x.numel() == 0) return out;
  const Tensor in = x.contiguous().view({-1, x.size(-2), x.size(-1)});
  const Tensor results = out.view(in.sizes());
  const int64_t batch = in.size(0), rows = in.size(1), columns = in.size(2);
  const at::ScalarType dtype = x.scalar_type();
  const at::ScalarType work = dtype == at::kDouble  ? at::kDouble
                              : bfloat16_products() ? at::kBFloat16
                                                    : at::kFloat;
  const bool gram = gram_form_pays(rows, columns, steps, work == at::kFloat);
  const auto one = dtype == at::kDouble ? orthogonalise<double, double>
                   : dtype == at::kFloat
                       ? work == at::kFloat ? orthogonalise<float, float> : orthogonalise<float, BFloat16>
                   : work == at::kFloat ? orthogonalise<BFloat16, float>
                                        : orthogonalise<BFloat16, BFloat16>;
  const auto run = [&](int64_t begin, int64_t end) {
    const at::AutoDispatchBelowADInplaceOrView none_here;  // this state is per thread
    Workspace workspace(rows, columns, gram, x.options().dtype(work));
    for (int64_t i = begin; i < end; ++i) one(in[i], results[i], gram, steps, coefficients, workspace);
  };
  // If there are enough matrices, each thread takes some of them, and the products inside run on that thread
  // alone. Otherwise each product uses all threads.
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
