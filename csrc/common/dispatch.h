// From a tensor's dtype to the C++ type of its elements.
#pragma once

#include <ATen/core/Tensor.h>

#include "bfloat16.h"

namespace arsbench {

// Calls run(type), where `type` is a value of the C++ type of `dtype`: float, double or BFloat16.
template <class Run>
auto with_type(at::ScalarType dtype, const Run& run) {
  switch (dtype) {
    case at::kFloat:
      return run(float{});
    case at::kDouble:
      return run(double{});
    case at::kBFloat16:
      return run(BFloat16{});
    default:
      TORCH_CHECK(false, "no kernel for ", dtype);
  }
}

}  // namespace arsbench
