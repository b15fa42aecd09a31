// RMSNorm on the CPU: one pass over memory, forward and backward.
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>

#include "../common/checks.h"
#include "../common/dispatch.h"
#include "rms_norm.h"

namespace arsbench {
namespace {

using at::Tensor;

// Rows whose contributions to the weight's gradient are summed together; the sums are then added in order, so
// that the result does not depend on the number of threads.
constexpr int64_t kRows = 64;

void check(const Tensor& x, const Tensor& weight) {
  check_supported("rms_norm", "x", x, at::kCPU);
  TORCH_CHECK_VALUE(x.dim() >= 1 && weight.dim() == 1 && x.size(-1) == weight.size(0),
                    "rms_norm takes x (..., E) and weight (E,), not ", x.sizes(), " and ", weight.sizes());
  check_weight("rms_norm", weight, x.scalar_type());
}

// Calls run(type, first, count) for each block of rows, where `type` is a value of the C++ type of x.
template <class Run>
void for_each_block(const Tensor& x, const Run& run) {
  const int64_t rows = x.numel() / std::max<int64_t>(1, x.size(-1));
  at::parallel_for(0, (rows + kRows - 1) / kRows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kRows, count = std::min(kRows, rows - first);
      with_type(x.scalar_type(), [&](auto type) { run(type, first, count); });
    }
  });
}

Tensor rms_norm(const Tensor& x_, const Tensor& weight_, double eps) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  check(x_, weight_);
  const Tensor x = x_.contiguous(), weight = weight_.to(state_dtype(x.scalar_type())).contiguous();
  const Tensor out = at::empty_like(x);
  const int64_t size = x.size(-1);
  for_each_block(x, [&](auto type, int64_t first, int64_t rows) {
    using T = decltype(type);
    const T* from = static_cast<const T*>(x.const_data_ptr()) + first * size;
    T* to = static_cast<T*>(out.data_ptr()) + first * size;
    normalize_rows(rows, size, from, weight.const_data_ptr<Compute<T>>(), static_cast<Compute<T>>(eps), to);
  });
  return out;
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& grad_, const Tensor& x_, const Tensor& weight_,
                                             double eps) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  check(x_, weight_);
  TORCH_CHECK_VALUE(grad_.sizes() == x_.sizes() && grad_.scalar_type() == x_.scalar_type(),
                    "rms_norm: the gradient must have x's shape and dtype");
  const Tensor x = x_.contiguous(), grad = grad_.contiguous();
  const Tensor weight = weight_.to(state_dtype(x.scalar_type())).contiguous();
  const Tensor grad_x = at::empty_like(x);
  const int64_t size = x.size(-1);
  const int64_t rows = x.numel() / std::max<int64_t>(1, size);
  const Tensor shares = at::zeros({(rows + kRows - 1) / kRows, size}, weight.options());
  for_each_block(x, [&](auto type, int64_t first, int64_t count) {
    using T = decltype(type);
    const int64_t offset = first * size;
    normalize_rows_backward(count, size, static_cast<const T*>(grad.const_data_ptr()) + offset,
                            static_cast<const T*>(x.const_data_ptr()) + offset,
                            weight.const_data_ptr<Compute<T>>(), static_cast<Compute<T>>(eps),
                            static_cast<T*>(grad_x.data_ptr()) + offset,
                            shares.data_ptr<Compute<T>>() + first / kRows * size);
  });
  return {grad_x, shares.sum(0).to(weight_.scalar_type())};
}

}  // namespace

TORCH_LIBRARY_IMPL(arsbench, CPU, library) {
  library.impl("rms_norm", rms_norm);
  library.impl("rms_norm_backward", rms_norm_backward);
}

}  // namespace arsbench
