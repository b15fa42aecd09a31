// y = (silu(gate)·up)·Wᵀ and its gradients on the CPU. The activation is as large as gate or up: it is not
// kept, but computed again in the backward pass.
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <tuple>

#include "../common/checks.h"
#include "../common/dispatch.h"
#include "../common/products.h"
#include "swiglu_linear.h"

namespace arsbench {
namespace {

using at::Tensor;

constexpr int64_t kGrain = 16384;  // minimum elements per thread

void check(const Tensor& gate, const Tensor& up, const Tensor& weight) {
  check_supported("swiglu_linear", "gate and up", {gate, up}, at::kCPU);
  TORCH_CHECK_VALUE(gate.dim() == 2 && gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type() &&
                        weight.dim() == 2 && weight.size(1) == gate.size(1),
                    "swiglu_linear takes gate and up (M, I) of one dtype and weight (E, I), not ",
                    gate.sizes(), ", ", up.sizes(), " and ", weight.sizes());
  check_weight("swiglu_linear", weight, gate.scalar_type());
}

template <class T>
void activate(const Tensor& gate, const Tensor& up, const Tensor& out) {
  const T *g = static_cast<const T*>(gate.const_data_ptr()), *u = static_cast<const T*>(up.const_data_ptr());
  T* h = static_cast<T*>(out.data_ptr());
  at::parallel_for(0, gate.numel(), kGrain,
                   [&](int64_t begin, int64_t end) { swiglu(end - begin, g + begin, u + begin, h + begin); });
}

// silu(gate)·up of contiguous tensors, as the operand of a product.
Tensor activation(const Tensor& gate, const Tensor& up) {
  const Tensor h = at::empty_like(gate);
  with_type(gate.scalar_type(), [&](auto type) { activate<decltype(type)>(gate, up, h); });
  return operand(h, gate.scalar_type());
}

template <class T, class G>
void differentiate(const Tensor& grad, const Tensor& gate, const Tensor& up, const Tensor& grad_gate,
                   const Tensor& grad_up) {
  const G* own = static_cast<const G*>(grad.const_data_ptr());
  const T *g = static_cast<const T*>(gate.const_data_ptr()), *u = static_cast<const T*>(up.const_data_ptr());
  T *to_gate = static_cast<T*>(grad_gate.data_ptr()), *to_up = static_cast<T*>(grad_up.data_ptr());
  at::parallel_for(0, gate.numel(), kGrain, [&](int64_t begin, int64_t end) {
    swiglu_backward(end - begin, own + begin, g + begin, u + begin, to_gate + begin, to_up + begin);
  });
}

Tensor swiglu_linear(const Tensor& gate, const Tensor& up, const Tensor& weight) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  check(gate, up, weight);
  const at::ScalarType dtype = gate.scalar_type();
  return product(activation(gate.contiguous(), up.contiguous()), operand(weight, dtype).t()).to(dtype);
}

std::tuple<Tensor, Tensor, Tensor> swiglu_linear_backward(const Tensor& grad, const Tensor& gate,
                                                          const Tensor& up, const Tensor& weight) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  check(gate, up, weight);
  const at::ScalarType dtype = gate.scalar_type();
  const Tensor own = operand(grad, dtype), g = gate.contiguous(), u = up.contiguous();
  const Tensor grad_weight = product(own.t(), activation(g, u)).to(weight.scalar_type());
  const Tensor grad_activation = product(own, operand(weight, dtype));
  // Element by element, the gate's gradient may overwrite the values it is computed from.
  const Tensor grad_gate = grad_activation.scalar_type() == dtype ? grad_activation : at::empty_like(g);
  const Tensor grad_up = at::empty_like(u);
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const auto run =
        grad_activation.scalar_type() == dtype ? differentiate<T, T> : differentiate<T, Compute<T>>;
    run(grad_activation, g, u, grad_gate, grad_up);
  });
  return {grad_gate, grad_up, grad_weight};
}

}  // namespace

TORCH_LIBRARY_IMPL(arsbench, CPU, library) {
  library.impl("swiglu_linear", swiglu_linear);
  library.impl("swiglu_linear_backward", swiglu_linear_backward);
}

}  // namespace arsbench
