// rope_attention on CUDA devices: checks, memory, launches.
#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <tuple>

#include "../common/cuda.h"
#include "rope_attention_checks.h"
#include "rope_attention_kernel.cuh"

namespace arsbench {
namespace {

using at::Tensor;
using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;
using Forward = std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                           const Tensor&, double, double);
using Backward = Gradients(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                           const Tensor&, const Tensor&, const Tensor&, double, double);

// The reason why the kernels cannot take this call, or null.
const char* reason_against(const Tensor& q, const Tensor& k, bool has_kernel) {
  if (!is_ampere_or_later(q)) return "GPUs before compute capability 8.0";
  if (q.scalar_type() != at::kBFloat16 && q.scalar_type() != at::kFloat) return "float16 and float64";
  if (!has_kernel) return "this head dimension";
  // Positions and the numbers of blocks are int.
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  const int64_t rows = q.size(0) * q.size(1) * std::max(q.size(2), k.size(2));
  return rows > kMost / 2 ? "more than 1073741823 rows" : nullptr;
}

bool is_aligned(const Tensor& x) { return reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % 16 == 0; }

// Without a copy if a head's elements are contiguous and every row starts at a multiple of 16 bytes.
Tensor rows_of(const Tensor& x) {
  bool fits = x.stride(3) == 1 && is_aligned(x);
  for (int dim = 0; dim < 3; ++dim) fits = fits && x.stride(dim) * x.element_size() % 16 == 0;
  return fits ? x : x.clone(at::MemoryFormat::Contiguous);
}

Tensor contiguous_rows_of(const Tensor& x) {
  const Tensor rows = x.contiguous();
  return is_aligned(rows) ? rows : rows.clone();
}

Tensor weight_of(const Tensor& weight) { return contiguous_rows_of(weight.to(at::kFloat)); }

// The tensors of one call, for both directions. They live until the launches are queued; the allocator reuses
// their memory only for later work on the same stream.
struct Call {
  Tensor q, k, v, q_weight, k_weight, cos, sin;
  rope_attention_cuda::Sizes sizes;
  int64_t head_dim;
  float eps, scale;

  Call(const Tensor& q_, const Tensor& k_, const Tensor& v_, const Tensor& q_weight_, const Tensor& k_weight_,
       double theta, double eps_)
      : q(rows_of(q_)),
        k(rows_of(k_)),
        v(rows_of(v_)),
        q_weight(weight_of(q_weight_)),
        k_weight(weight_of(k_weight_)),
        sizes{static_cast<int>(q.size(0)), static_cast<int>(q.size(1)), static_cast<int>(q.size(2)),
              static_cast<int>(k.size(2))},
        head_dim(q.size(3)),
        eps(static_cast<float>(eps_)),
        scale(static_cast<float>(1 / std::sqrt(static_cast<double>(head_dim)))) {
    // In float64: an angle of T radians in float32 is off by up to T·2⁻²⁴.
    const auto options = q.options().dtype(at::kDouble);
    const Tensor exponents = at::arange(0, head_dim, 2, options).mul_(-1.0 / static_cast<double>(head_dim));
    const Tensor angles = at::arange(sizes.length, options).unsqueeze(1).mul(at::pow(theta, exponents));
    cos = angles.cos().to(at::kFloat);
    sin = angles.sin().to(at::kFloat);
  }

  rope_attention_cuda::Preparation preparation() const {
    return {q_weight.const_data_ptr<float>(), k_weight.const_data_ptr<float>(), cos.const_data_ptr<float>(),
            sin.const_data_ptr<float>(), eps};
  }
};

template <class Scalar>
rope_attention_cuda::HeadRows<const Scalar> head_rows(const Tensor& x) {
  return {static_cast<const Scalar*>(x.const_data_ptr()), x.stride(0), x.stride(1), x.stride(2)};
}

// Calls run(products) with the products for `dtype`: float32 products unless PyTorch allows TF32.
// float32Precision reports that however it was set; allowTF32CuBLAS raises if it was set by fp32_precision
// instead of the older allow_tf32.
template <class Run>
void with_products(at::ScalarType dtype, const Run& run) {
  if (dtype == at::kBFloat16) return run(rope_attention_cuda::BFloat16Products{});
  const at::Float32Precision precision =
      at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL);
  if (precision == at::Float32Precision::TF32) return run(rope_attention_cuda::Tf32Products{});
  run(rope_attention_cuda::Float32Products{});
}

std::tuple<Tensor, Tensor> rope_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                          const Tensor& q_weight, const Tensor& k_weight, double theta,
                                          double eps) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  check_rope_attention(q, k, v, q_weight, k_weight);
  const c10::cuda::CUDAGuard guard(q.device());
  if (const char* why = reason_against(q, k, rope_attention_cuda::has_forward(q.size(3))))
    return call_reference<Forward>("rope_attention", why, q, k, v, q_weight, k_weight, theta, eps);
  const Tensor out = at::empty(q.sizes(), q.options());
  const Tensor lse = at::empty({q.size(0), q.size(2), q.size(1)}, q.options().dtype(at::kFloat));
  if (out.numel() == 0) return {out, lse};
  const Call call(q, k, v, q_weight, k_weight, theta, eps);
  with_products(q.scalar_type(), [&](auto products) {
    using Products = decltype(products);
    using Scalar = typename Products::Scalar;
    const rope_attention_cuda::ForwardArguments<Scalar> arguments{
        call.sizes,
        head_rows<Scalar>(call.q),
        head_rows<Scalar>(call.k),
        head_rows<Scalar>(call.v),
        call.preparation(),
        static_cast<Scalar*>(out.mutable_data_ptr()),
        lse.mutable_data_ptr<float>(),
        call.scale};
    rope_attention_cuda::forward<Products>(arguments, call.head_dim, at::cuda::getCurrentCUDAStream());
  });
  return {out, lse};
}

Gradients rope_attention_backward(const Tensor& grad_out, const Tensor& q, const Tensor& k, const Tensor& v,
                                  const Tensor& q_weight, const Tensor& k_weight, const Tensor& out,
                                  const Tensor& lse, double theta, double eps) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  check_rope_attention(q, k, v, q_weight, k_weight);
  TORCH_CHECK_VALUE(grad_out.sizes() == q.sizes() && out.sizes() == q.sizes() &&
                        grad_out.scalar_type() == q.scalar_type() && out.scalar_type() == q.scalar_type(),
                    "rope_attention: out and its gradient must have q's shape and dtype");
  TORCH_CHECK_VALUE(lse.sizes() == at::IntArrayRef({q.size(0), q.size(2), q.size(1)}) &&
                        lse.scalar_type() == state_dtype(q.scalar_type()),
                    "rope_attention: lse must be (B, H, T) in the compute dtype, not ", lse.sizes(), " of ",
                    lse.scalar_type());
  for (const Tensor& x : {grad_out, out, lse})
    TORCH_CHECK_VALUE(x.device() == q.device(), "rope_attention: tensors on ", q.device(), " and ",
                      x.device());
  const c10::cuda::CUDAGuard guard(q.device());
  if (const char* why = reason_against(q, k, rope_attention_cuda::has_backward(q.size(3))))
    return call_reference<Backward>("rope_attention_backward", why, grad_out, q, k, v, q_weight, k_weight,
                                    out, lse, theta, eps);
  if (q.numel() == 0) {
    const auto zeros = [](const Tensor& x) { return at::zeros_like(x, at::MemoryFormat::Contiguous); };
    return {zeros(q), zeros(k), zeros(v), zeros(q_weight), zeros(k_weight)};
  }
  const auto empty_like = [](const Tensor& x) { return at::empty(x.sizes(), x.options()); };
  const Tensor grad_q = empty_like(q), grad_k = empty_like(k), grad_v = empty_like(v);
  const Call call(q, k, v, q_weight, k_weight, theta, eps);
  const Tensor grad_rows = rows_of(grad_out), out_rows = contiguous_rows_of(out), log_sums = lse.contiguous();
  const Tensor grad_q_weight = empty_like(call.q_weight), grad_k_weight = empty_like(call.k_weight);
  with_products(q.scalar_type(), [&](auto products) {
    using Products = decltype(products);
    using Scalar = typename Products::Scalar;
    const int64_t floats = rope_attention_cuda::workspace_floats<Products>(call.sizes, call.head_dim);
    const Tensor workspace = at::empty({floats}, grad_q_weight.options());
    const rope_attention_cuda::BackwardArguments<Scalar> arguments{
        call.sizes,
        head_rows<Scalar>(call.q),
        head_rows<Scalar>(call.k),
        head_rows<Scalar>(call.v),
        head_rows<Scalar>(grad_rows),
        call.preparation(),
        static_cast<const Scalar*>(out_rows.const_data_ptr()),
        log_sums.const_data_ptr<float>(),
        static_cast<Scalar*>(grad_q.mutable_data_ptr()),
        static_cast<Scalar*>(grad_k.mutable_data_ptr()),
        static_cast<Scalar*>(grad_v.mutable_data_ptr()),
        grad_q_weight.mutable_data_ptr<float>(),
        grad_k_weight.mutable_data_ptr<float>(),
        workspace.mutable_data_ptr<float>(),
        call.scale};
    rope_attention_cuda::backward<Products>(arguments, call.head_dim, at::cuda::getCurrentCUDAStream());
  });
  return {grad_q, grad_k, grad_v, grad_q_weight.to(q_weight.scalar_type()),
          grad_k_weight.to(k_weight.scalar_type())};
}

}  // namespace

TORCH_LIBRARY_IMPL(arsbench, CUDA, library) {
  library.impl("rope_attention", rope_attention);
  library.impl("rope_attention_backward", rope_attention_backward);
}

}  // namespace arsbench
