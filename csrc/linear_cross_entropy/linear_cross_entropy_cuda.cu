// Fused output projection and cross-entropy on CUDA devices, in chunks of tokens as on the CPU: one matrix
// product computes a chunk's logits, a kernel replaces them by their gradient in place, and two more products
// use the gradient. The products are ATen's out variants, which bypass autocast.
//
// Nothing waits for the device, so a target that is neither an entry nor ignored raises no error: its token's
// loss is NaN, and so are the reduced loss and all gradients that the token contributes to.
#include <ATen/core/Tensor.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <tuple>
#include <type_traits>

#include "../common/cuda.h"
#include "linear_cross_entropy_checks.h"
#include "linear_cross_entropy_kernel.cuh"

namespace arsbench {
namespace {

using at::Tensor;
using linear_cross_entropy_cuda::bf16;
using linear_cross_entropy_cuda::Rows;
using Results = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;
using Signature = Results(const Tensor&, const Tensor&, const Tensor&, int64_t, c10::string_view, bool);

// Bytes of a chunk's logits. Each chunk reads the weight twice and adds to its gradient: up to 20 bytes per
// element of the weight, for 6 flops per token. At a GPU's 200 to 300 flops per byte that traffic costs as
// much as a thousand tokens. At 50,000 entries in bf16 a chunk is 2,700 tokens. (Computed, not measured.)
constexpr int64_t kChunkBytes = int64_t{256} << 20;

struct Loss {
  Tensor token_loss, entropy;       // (N,), float32
  Tensor grad_hidden, grad_weight;  // (N, E) in hidden's dtype, (V, E) in float32; (0,) if not needed
};

void softmax_rows(const Tensor& logits, const Tensor& target, const Tensor& token_loss, const Tensor& entropy,
                  const Tensor& factor, int64_t ignore_index, bool with_grad) {
  const auto launch = [&](auto type) {
    using T = decltype(type);
    const Rows<T> rows{static_cast<T*>(logits.data_ptr()),
                       target.const_data_ptr<int64_t>(),
                       token_loss.data_ptr<float>(),
                       entropy.data_ptr<float>(),
                       factor.const_data_ptr<float>(),
                       logits.stride(0),
                       ignore_index,
                       static_cast<int>(logits.size(1)),
                       with_grad};
    linear_cross_entropy_cuda::launch_softmax_rows(
        rows, static_cast<int>(logits.size(0)),
        at::cuda::getCurrentDeviceProperties()->sharedMemPerBlockOptin, at::cuda::getCurrentCUDAStream());
  };
  logits.scalar_type() == at::kFloat ? launch(float{}) : launch(bf16{});
}

// hidden and weight: float32 or bfloat16, contiguous. factor: d loss / d token_loss, (1,).
Loss loss_in_chunks(const Tensor& hidden, const Tensor& weight, const Tensor& target, const Tensor& factor,
                    int64_t ignore_index, bool with_grad) {
  const int64_t N = hidden.size(0), E = hidden.size(1), V = weight.size(0);
  const auto compute = hidden.options().dtype(at::kFloat);
  Loss result{at::empty({N}, compute), at::empty({N}, compute),
              with_grad ? at::empty({N, E}, hidden.options()) : at::empty({0}, hidden.options()),
              with_grad ? at::empty({V, E}, compute) : at::empty({0}, compute)};
  if (N == 0) {
    result.grad_weight.zero_();
    return result;
  }
  // Rows begin at multiples of 16 bytes, for the kernel's vectors and the products' fast paths.
  const int64_t stride = (std::max<int64_t>(1, V) + 7) / 8 * 8;
  const int64_t fitting = std::max<int64_t>(1, kChunkBytes / (stride * hidden.element_size()));
  // Equal chunks: the products of a short last chunk would run at a lower rate.
  const int64_t chunks = (N + fitting - 1) / fitting, chunk = (N + chunks - 1) / chunks;
  const Tensor buffer = at::empty({chunk, stride}, hidden.options()).narrow(1, 0, V);
  const bool rounded = hidden.scalar_type() == at::kBFloat16;
  Tensor product = with_grad && rounded && chunks > 1 ? at::empty({V, E}, compute) : Tensor();
  for (int64_t begin = 0; begin < N; begin += chunk) {
    const int64_t rows = std::min(chunk, N - begin);
    const Tensor h = hidden.narrow(0, begin, rows);
    Tensor logits = buffer.narrow(0, 0, rows);
    at::mm_out(logits, h, weight.t());
    softmax_rows(logits, target.narrow(0, begin, rows), result.token_loss.narrow(0, begin, rows),
                 result.entropy.narrow(0, begin, rows), factor, ignore_index, with_grad);
    if (!with_grad) continue;
    Tensor grad_rows = result.grad_hidden.narrow(0, begin, rows);
    at::mm_out(grad_rows, logits, weight);
    if (rounded) {
      // The product of bf16 matrices in float32, as the tensor cores accumulate it.
      Tensor& sum = begin == 0 ? result.grad_weight : product;
      at::mm_out(sum, logits.t(), h, at::kFloat);
      if (begin > 0) result.grad_weight.add_(product);
    } else if (begin == 0) {
      at::mm_out(result.grad_weight, logits.t(), h);
    } else {
      at::addmm_out(result.grad_weight, result.grad_weight, logits.t(), h);
    }
  }
  return result;
}

// The reason why the kernels cannot take this call, or null.
const char* reason_against(const Tensor& hidden, const Tensor& weight) {
  if (!is_ampere_or_later(hidden)) return "GPUs before compute capability 8.0";
  if (hidden.scalar_type() != at::kBFloat16 && hidden.scalar_type() != at::kFloat)
    return "float16 and float64";
  constexpr int64_t kMost = std::numeric_limits<int>::max() / 2;
  return std::max(hidden.size(0), weight.size(0)) > kMost ? "more than 1073741823 tokens or entries"
                                                          : nullptr;
}

Results linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& target,
                             int64_t ignore_index, c10::string_view reduction, bool with_grad) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  check_linear_cross_entropy(hidden, weight, target, reduction);
  const c10::cuda::CUDAGuard guard(hidden.device());
  if (const char* reason = reason_against(hidden, weight))
    return call_reference<Signature>("linear_cross_entropy", reason, hidden, weight, target, ignore_index,
                                     reduction, with_grad);
  const Tensor labels = target.contiguous();
  const auto compute = hidden.options().dtype(at::kFloat);
  const bool mean = reduction == "mean";
  // If no target counts, the mean is 0/0, as in torch, but its gradient is 0.
  Tensor factor, kept;
  if (mean) {
    factor = at::empty({1}, compute);
    kept = at::empty({}, compute);
    linear_cross_entropy_cuda::launch_count_kept(
        labels.const_data_ptr<int64_t>(), static_cast<int>(labels.numel()), ignore_index,
        kept.data_ptr<float>(), factor.data_ptr<float>(), at::cuda::getCurrentCUDAStream());
  } else {
    factor = at::full({1}, 1, compute);
  }
  const Loss result = loss_in_chunks(hidden.contiguous(), weight.to(hidden.scalar_type()).contiguous(),
                                     labels, factor, ignore_index, with_grad);
  Tensor loss = result.token_loss.sum();
  if (mean) loss.div_(kept);
  return {loss, result.token_loss, result.entropy, result.grad_hidden,
          result.grad_weight.to(weight.scalar_type())};
}

}  // namespace

TORCH_LIBRARY_IMPL(arsbench, CUDA, library) { library.impl("linear_cross_entropy", linear_cross_entropy); }

}  // namespace arsbench
