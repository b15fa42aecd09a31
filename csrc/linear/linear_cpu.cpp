// y = x·Wᵀ and its gradients on the CPU, in the dtype in which this machine is fast (common/products.h).
#include <c10/util/accumulate.h>
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "../common/checks.h"
#include "../common/products.h"

namespace arsbench {
namespace {

using at::Tensor;

void check(const Tensor& x, const Tensor& weight) {
  check_float("linear", "x", x);
  TORCH_CHECK_VALUE(x.dim() >= 1 && weight.dim() == 2 && x.size(-1) == weight.size(1),
                    "linear takes x (..., K) and weight (N, K), not ", x.sizes(), " and ", weight.sizes());
  check_weight("linear", weight, x.scalar_type());
}

// (..., K) as a matrix; reshape cannot infer the number of rows if K is 0.
Tensor as_rows(const Tensor& x) {
  const int64_t columns = x.size(-1);
  return x.reshape({c10::multiply_integers(x.sizes().slice(0, x.dim() - 1)), columns});
}

Tensor linear(const Tensor& x, const Tensor& weight) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  check(x, weight);
  const at::ScalarType dtype = x.scalar_type();
  const Tensor y = product(operand(as_rows(x), dtype), operand(weight, dtype).t()).to(dtype);
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  return y.view(sizes);
}

std::tuple<Tensor, Tensor> linear_backward(const Tensor& grad, const Tensor& x, const Tensor& weight) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  check(x, weight);
  const at::ScalarType dtype = x.scalar_type();
  const Tensor g = operand(as_rows(grad), dtype);
  return {product(g, operand(weight, dtype)).to(dtype).view(x.sizes()),
          product(g.t(), operand(as_rows(x), dtype)).to(weight.scalar_type())};
}

}  // namespace

TORCH_LIBRARY_IMPL(arsbench, CPU, library) {
  library.impl("linear", linear);
  library.impl("linear_backward", linear_backward);
}

}  // namespace arsbench
