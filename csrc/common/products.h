// Matrix products of operands in any float dtype. The out variants bypass autocast.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include "bfloat16_products.h"

namespace arsbench {

// x rounded to `dtype`, in the dtype that this machine multiplies such matrices in: float32 in place of
// bfloat16 on machines without bfloat16 products, and always in place of float16.
inline at::Tensor operand(const at::Tensor& x, at::ScalarType dtype) {
  const bool widened = dtype == at::kHalf || (dtype == at::kBFloat16 && !bfloat16_products());
  const at::Tensor rounded = x.to(dtype);
  return widened ? rounded.to(at::kFloat) : rounded;
}

// a·b.
inline at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  at::Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  at::mm_out(out, a, b);
  return out;
}

}  // namespace arsbench
