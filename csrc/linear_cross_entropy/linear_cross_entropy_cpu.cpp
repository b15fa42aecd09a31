// Fused output projection and cross-entropy on the CPU, in chunks of tokens. One matrix product computes a
// chunk's logits, a parallel pass over the rows replaces them by their gradient in place, and two more
// products use the gradient.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>

#include "../common/dispatch.h"
#include "../common/products.h"
#include "linear_cross_entropy.h"
#include "linear_cross_entropy_checks.h"

namespace arsbench {
namespace {

using at::Tensor;

// Bytes of a chunk's logits. Each chunk reads the weight twice and reads and writes the weight's gradient
// once, so a few large chunks are fast; larger ones than this are no faster (measured at V = 40,479, E =
// 512).
constexpr int64_t kChunkBytes = int64_t{64} << 20;

struct Loss {
  Tensor token_loss, entropy;  // (N,), compute dtype
  Tensor grad_hidden,
      grad_weight;  // (N, E) in hidden's dtype, (V, E) in the compute dtype; (0,) if not needed
};

// T: the dtype of hidden and weight (float, double or BFloat16). factor: d loss / d token_loss.
template <class T>
Loss loss_in_chunks(const Tensor& hidden, const Tensor& weight, const int64_t* target, int64_t ignore_index,
                    double factor, bool with_grad) {
  using S = Compute<T>;
  const int64_t N = hidden.size(0), E = hidden.size(1), V = weight.size(0);
  const auto compute = hidden.options().dtype(state_dtype(hidden.scalar_type()));
  Loss result{at::empty({N}, compute), at::empty({N}, compute),
              with_grad ? at::empty({N, E}, hidden.options()) : at::empty({0}, hidden.options()),
              with_grad ? at::empty({V, E}, compute) : at::empty({0}, compute)};
  if (N == 0) {
    result.grad_weight.zero_();
    return result;
  }

  const int64_t fitting = kChunkBytes / std::max<int64_t>(1, V * sizeof(T));
  // Equal chunks: the products of a short last chunk would run at a lower rate.
  const int64_t chunks = (N + std::max<int64_t>(1, fitting) - 1) / std::max<int64_t>(1, fitting);
  const int64_t chunk = (N + chunks - 1) / chunks;
  const Tensor buffer = at::empty({chunk, V}, hidden.options());
  S* token_loss = result.token_loss.data_ptr<S>();
  S* entropy = result.entropy.data_ptr<S>();
  for (int64_t begin = 0; begin < N; begin += chunk) {
    const int64_t rows = std::min(chunk, N - begin);
    const Tensor h = hidden.narrow(0, begin, rows);
    Tensor logits = buffer.narrow(0, 0, rows);
    multiply(logits, h, weight.t());
    T* values = static_cast<T*>(logits.data_ptr());
    at::parallel_for(0, rows, 1, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        const int64_t token = begin + row, entry = target[token] == ignore_index ? -1 : target[token];
        const auto [loss, own_entropy] =
            softmax_pass<T>(V, values + row * V, entry, static_cast<S>(factor), with_grad);
        token_loss[token] = loss;
        entropy[token] = own_entropy;
      }
    });
    if (!with_grad) continue;
    multiply(result.grad_hidden.narrow(0, begin, rows), logits, weight);
    // Sums over chunks are in the compute dtype.
    multiply(result.grad_weight, logits.t(), h, {1, begin == 0 ? 0.0 : 1.0}, result.grad_weight);
  }
  return result;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> linear_cross_entropy(
    const Tensor& hidden, const Tensor& weight, const Tensor& target, int64_t ignore_index,
    c10::string_view reduction, bool with_grad) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  check_linear_cross_entropy(hidden, weight, target, reduction);
  const Tensor labels = target.contiguous();
  const int64_t* label = labels.const_data_ptr<int64_t>();
  int64_t kept = 0;
  for (int64_t token = 0; token < labels.numel(); ++token) {
    if (label[token] == ignore_index) continue;
    TORCH_CHECK_VALUE(label[token] >= 0 && label[token] < weight.size(0), "linear_cross_entropy: target ",
                      label[token], " is no row of a weight of ", weight.size(0), " rows");
    ++kept;
  }
  const bool mean = reduction == "mean";
  // If no target counts, the mean is 0/0, as in torch, but its gradient is 0.
  const double factor = mean ? 1.0 / static_cast<double>(std::max<int64_t>(1, kept)) : 1.0;

  const at::ScalarType dtype = hidden.scalar_type();
  const Tensor h = operand(hidden, dtype).contiguous(), w = operand(weight, dtype).contiguous();
  const Loss result = with_type(h.scalar_type(), [&](auto type) {
    return loss_in_chunks<decltype(type)>(h, w, label, ignore_index, factor, with_grad);
  });
  Tensor loss = result.token_loss.sum();
  if (mean) loss.div_(static_cast<double>(kept));
  return {loss, result.token_loss, result.entropy, result.grad_hidden.to(dtype),
          result.grad_weight.to(weight.scalar_type())};
}

}  // namespace

TORCH_LIBRARY_IMPL(arsbench, CPU, library) { library.impl("linear_cross_entropy", linear_cross_entropy); }

}  // namespace arsbench
