// Newton-Schulz on CUDA devices: checks, memory, launches, and the iteration on ATen's products.
#include <ATen/core/Tensor.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "../common/checks.h"
#include "../common/cuda.h"
#include "newton_schulz_kernel.cuh"

namespace arsbench {
namespace {

using at::Tensor;
using newton_schulz_cuda::Form;
using newton_schulz_cuda::Partials;
using newton_schulz_cuda::Scaling;
using newton_schulz_cuda::Shape;
using Coefficients = at::ArrayRef<double>;
using Signature = Tensor(const Tensor&, int64_t, Coefficients);

// The largest number of matrices in one launch: the limit of a grid in its second and third dimensions.
constexpr int64_t kMostMatrices = 65535;

// The reason why the kernels cannot take this call, or null.
const char* reason_against(const Tensor& x) {
  if (!is_ampere_or_later(x)) return "GPUs before compute capability 8.0";
  if (x.scalar_type() == at::kDouble) return "float64";
  constexpr int64_t kMost = std::numeric_limits<int>::max() - 8;
  return std::max(x.size(-1), x.size(-2)) > kMost ? "matrices of more than 2147483639 rows or columns"
                                                  : nullptr;
}

// The iteration in bf16 on ATen's products. Their out variants bypass autocast.
template <class T>
void library_form(const Tensor& in, const Tensor& out, const Shape& shape, int64_t steps, Coefficients c,
                  cudaStream_t stream) {
  const int64_t batch = shape.batch, n = shape.short_side(), m = shape.long_side();
  const auto options = in.options().dtype(at::kBFloat16);
  Tensor X = at::empty({batch, n, m}, options), other = at::empty_like(X);
  Tensor A = at::empty({batch, n, n}, options), P = at::empty_like(A);
  const Tensor partials = at::empty({batch, Partials::kBlocks}, in.options().dtype(at::kDouble));
  const Scaling scaling{shape.rows, shape.columns, shape.short_side(), shape.long_side(), shape.tall()};
  newton_schulz_cuda::launch_scale(static_cast<const T*>(in.const_data_ptr()),
                                   static_cast<newton_schulz_cuda::bf16*>(X.data_ptr()),
                                   partials.data_ptr<double>(), shape.batch, scaling, stream);
  for (int64_t step = 0; step < steps; ++step) {
    at::bmm_out(A, X, X.mT());
    at::baddbmm_out(P, A, A, A, c[1], c[2]);
    at::baddbmm_out(other, X, P, X, c[0], 1);
    std::swap(X, other);
  }
  out.copy_(shape.tall() ? X.mT() : X);
}

template <class T>
void orthogonalise(const Tensor& in, const Tensor& out, int64_t steps, Coefficients c) {
  const cudaStream_t stream = at::cuda::getCurrentCUDAStream();
  const Form form = newton_schulz_cuda::choose_form(in.size(1), in.size(2), steps);
  const Shape shape{static_cast<int>(in.size(0)), static_cast<int>(in.size(1)), static_cast<int>(in.size(2))};
  if (form == Form::kLibrary && steps > 0) {
    library_form<T>(in, out, shape, steps, c, stream);
    return;
  }
  const auto bytes = static_cast<int64_t>(newton_schulz_cuda::workspace_bytes(shape));
  const Tensor memory = at::empty({bytes}, in.options().dtype(at::kByte));
  const float coefficients[3] = {static_cast<float>(c[0]), static_cast<float>(c[1]),
                                 static_cast<float>(c[2])};
  newton_schulz_cuda::launch_newton_schulz(
      static_cast<const T*>(in.const_data_ptr()), static_cast<T*>(out.data_ptr()), memory.data_ptr(), shape,
      steps, coefficients, form, at::cuda::getCurrentDeviceProperties()->multiProcessorCount, stream);
}

Tensor newton_schulz(const Tensor& x, int64_t steps, Coefficients coefficients) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  TORCH_CHECK_VALUE(is_supported(x.scalar_type()),
                    "newton_schulz: x must be float32, bfloat16 or float64, not ", x.scalar_type());
  TORCH_CHECK_VALUE(x.dim() >= 2, "newton_schulz: x must have at least two dimensions, not ", x.dim());
  TORCH_CHECK_VALUE(steps >= 0, "newton_schulz: steps must be 0 or more, not ", steps);
  TORCH_CHECK_VALUE(coefficients.size() == 3, "newton_schulz: three coefficients are needed, not ",
                    coefficients.size());
  const c10::cuda::CUDAGuard guard(x.device());
  if (const char* reason = reason_against(x))
    return call_reference<Signature>("newton_schulz", reason, x, steps, coefficients);
  const Tensor out = at::empty(x.sizes(), x.options());
  if (x.numel() == 0) return out;
  const Tensor in = x.contiguous().view({-1, x.size(-2), x.size(-1)});
  const Tensor results = out.view(in.sizes());
  for (int64_t begin = 0; begin < in.size(0); begin += kMostMatrices) {
    const int64_t count = std::min(kMostMatrices, in.size(0) - begin);
    const auto run =
        x.scalar_type() == at::kFloat ? orthogonalise<float> : orthogonalise<newton_schulz_cuda::bf16>;
    run(in.narrow(0, begin, count), results.narrow(0, begin, count), steps, coefficients);
  }
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(arsbench, CUDA, library) { library.impl("newton_schulz", newton_schulz); }

}  // namespace arsbench
