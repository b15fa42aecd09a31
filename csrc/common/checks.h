// Argument checks for ops on tensors and lists of tensors. Kernels read raw memory, and torch.ops reaches
// them without the checks of the Python functions, so everything is checked here.
#pragma once

#include <ATen/MemoryOverlap.h>
#include <ATen/core/Tensor.h>

namespace arsbench {

inline bool is_supported(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kDouble;
}

// The dtype of moments and directions for parameters of `dtype`.
inline at::ScalarType state_dtype(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

inline void check_supported(const char* op, const char* name, at::TensorList tensors, at::Device device) {
  for (const at::Tensor& tensor : tensors) {
    TORCH_CHECK_VALUE(is_supported(tensor.scalar_type()), op, ": ", name,
                      " must be float32, bfloat16 or float64, not ", tensor.scalar_type());
    TORCH_CHECK_VALUE(tensor.layout() == at::kStrided && tensor.device() == device, op, ": ", name,
                      " must be dense tensors on ", device, ", not on ", tensor.device());
  }
}

// For kernels that also accept float16, which they compute in float32.
inline void check_float(const char* op, const char* name, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.scalar_type() == at::kHalf || is_supported(tensor.scalar_type()), op, ": ", name,
                    " must be float16, bfloat16, float32 or float64, not ", tensor.scalar_type());
}

// A layer's weight has its input's dtype, or the dtype that the input is computed in.
inline void check_weight(const char* op, const at::Tensor& weight, at::ScalarType input) {
  TORCH_CHECK_VALUE(weight.scalar_type() == input || weight.scalar_type() == state_dtype(input), op,
                    ": a weight of ", weight.scalar_type(), " does not go with an input of ", input);
}

// The device of the first tensor; all must be on it.
inline at::Device device_of(at::TensorList tensors) {
  return tensors.empty() ? at::Device(at::kCPU) : tensors[0].device();
}

// `tensors` must match `like` in number, shapes and device, and in dtypes; if `is_state`, they have the
// state's dtypes instead.
inline void check_like(const char* op, const char* name, at::TensorList tensors, at::TensorList like,
                       bool is_state) {
  TORCH_CHECK_VALUE(tensors.size() == like.size(), op, ": ", name, " has ", tensors.size(), " tensors where ",
                    like.size(), " are needed");
  check_supported(op, name, tensors, device_of(like));
  for (size_t i = 0; i < tensors.size(); ++i) {
    const at::ScalarType own = like[i].scalar_type(), wanted = is_state ? state_dtype(own) : own;
    TORCH_CHECK_VALUE(tensors[i].sizes() == like[i].sizes(), op, ": ", name, "[", i, "] has shape ",
                      tensors[i].sizes(), " where ", like[i].sizes(), " is needed");
    TORCH_CHECK_VALUE(tensors[i].scalar_type() == wanted, op, ": ", name, "[", i, "] is ",
                      tensors[i].scalar_type(), " where ", wanted, " is needed");
  }
}

// Elements of a tensor that is written to must not share memory, as those of an expanded tensor do.
inline void check_writable(at::TensorList tensors) {
  for (const at::Tensor& tensor : tensors) at::assert_no_internal_overlap(tensor);
}

// One float64 number per tensor, on the tensors' device; an empty tensor if there are none.
inline void check_scalars(const char* op, const char* name, const at::Tensor& scalars,
                          at::TensorList tensors) {
  const at::Device device = tensors.empty() ? scalars.device() : device_of(tensors);
  TORCH_CHECK_VALUE(scalars.scalar_type() == at::kDouble && scalars.device() == device &&
                        scalars.dim() == 1 && scalars.size(0) == static_cast<int64_t>(tensors.size()),
                    op, ": ", name, " must be a float64 tensor of shape (", tensors.size(), ",) on ", device,
                    ", not ", scalars.scalar_type(), " of shape ", scalars.sizes(), " on ", scalars.device());
}

}  // namespace arsbench
