// Attention on the CPU. A task is one row of the batch with one key-value head and the query heads that share
// it: its keys and values stay in the core's cache while it iterates over blocks of queries. If there is more
// than one task, no result depends on the number of threads. The computation is in float32 or wider. The
// products are ATen's out variants, which run on the task's thread and bypass autocast.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "../common/dispatch.h"
#include "rope_attention.h"
#include "rope_attention_checks.h"

namespace arsbench {
namespace {

using at::Tensor;

// Queries per block. One product computes their scores with all keys that they may see; smaller blocks waste
// less work on the masked corner, larger ones multiply faster.
constexpr int64_t kBlock = 64;

// Cosine and sine of position · frequency, (length, D/2) each.
template <class S>
struct Rotation {
  int64_t length, head_dim;
  double theta;
  std::vector<S> cos, sin;

  Rotation(int64_t length, int64_t head_dim, double theta)
      : length(length), head_dim(head_dim), theta(theta), cos(length * head_dim / 2), sin(cos.size()) {
    const int64_t half = head_dim / 2;
    at::parallel_for(0, length, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < half; ++i) {
        // In double: an angle of T radians in float32 is off by up to T·2⁻²⁴.
        const double frequency =
            std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
        for (int64_t t = begin; t < end; ++t) {
          cos[t * half + i] = static_cast<S>(std::cos(static_cast<double>(t) * frequency));
          sin[t * half + i] = static_cast<S>(std::sin(static_cast<double>(t) * frequency));
        }
      }
    });
  }
};

// The table is the same in every layer and step, so the last one is kept.
template <class S>
std::shared_ptr<const Rotation<S>> rotation(int64_t length, int64_t head_dim, double theta) {
  static std::mutex mutex;
  static std::shared_ptr<const Rotation<S>> last;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!last || last->length < length || last->head_dim != head_dim || last->theta != theta)
    last = std::make_shared<const Rotation<S>>(length, head_dim, theta);
  return last;
}

// The tensors of one call, and what both directions need to locate a head's rows.
template <class T>
struct Call {
  using S = Compute<T>;

  Tensor q, k, v, q_weight, k_weight;
  int64_t B, length, H, Hkv, D;
  S eps;
  std::shared_ptr<const Rotation<S>> table;

  Call(const Tensor& q_, const Tensor& k_, const Tensor& v_, const Tensor& q_weight_, const Tensor& k_weight_,
       double theta, double eps_)
      : q(rows_of(q_)),
        k(rows_of(k_)),
        v(rows_of(v_)),
        q_weight(weights_of(q_weight_)),
        k_weight(weights_of(k_weight_)),
        B(q.size(0)),
        length(q.size(1)),
        H(q.size(2)),
        Hkv(k.size(2)),
        D(q.size(3)),
        eps(static_cast<S>(eps_)),
        table(rotation<S>(length, D, theta)) {}

  static constexpr at::ScalarType kCompute = std::is_same_v<S, double> ? at::kDouble : at::kFloat;
  // Without a copy if a head's elements are contiguous.
  static Tensor rows_of(const Tensor& x) { return x.stride(3) == 1 ? x : x.contiguous(); }
  static Tensor weights_of(const Tensor& weight) { return weight.to(kCompute).contiguous(); }

  Tensor space(int64_t rows, int64_t columns) const {
    return at::empty({rows, columns}, at::TensorOptions().dtype(kCompute));
  }

  // The first row of a head: position t of batch row b.
  static T* row(const Tensor& x, int64_t b, int64_t t, int64_t head) {
    return static_cast<T*>(x.data_ptr()) + b * x.stride(0) + t * x.stride(1) + head * x.stride(2);
  }

  NormAndRotation<S> norm_and_rotation(const Tensor& weight, int64_t first, double factor) const {
    const int64_t offset = first * (D / 2);
    return {D,   weight.const_data_ptr<S>(), table->cos.data() + offset, table->sin.data() + offset,
            eps, static_cast<S>(factor)};
  }
  NormAndRotation<S> for_queries(int64_t first) const {
    return norm_and_rotation(q_weight, first, 1 / std::sqrt(static_cast<double>(D)));
  }
  NormAndRotation<S> for_keys() const { return norm_and_rotation(k_weight, 0, 1); }

  // The keys of a head, normalised and rotated, and its values, each (T, D).
  void load_head(int64_t b, int64_t kv_head, const Tensor& keys, const Tensor& values) const {
    normalize_and_rotate(length, row(k, b, 0, kv_head), k.stride(1), keys.data_ptr<S>(), for_keys());
    gather_rows(length, D, row(v, b, 0, kv_head), v.stride(1), values.data_ptr<S>());
  }
};

// out ← a·b, or out ← out + a·b.
void multiply(Tensor out, const Tensor& a, const Tensor& b, bool accumulate = false) {
  accumulate ? at::addmm_out(out, out, a, b) : at::mm_out(out, a, b);
}

template <class T>
void forward(const Call<T>& c, const Tensor& out, const Tensor& lse) {
  using S = Compute<T>;
  at::parallel_for(0, c.B * c.Hkv, 1, [&](int64_t begin, int64_t end) {
    const at::AutoDispatchBelowADInplaceOrView no_gradients;
    const Tensor keys = c.space(c.length, c.D), values = c.space(c.length, c.D);
    const Tensor queries = c.space(kBlock, c.D), results = c.space(kBlock, c.D);
    const Tensor all_scores = c.space(kBlock, c.length);
    S inverse_sums[kBlock];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / c.Hkv, kv_head = task % c.Hkv, group = c.H / c.Hkv;
      c.load_head(b, kv_head, keys, values);
      for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        for (int64_t first = 0; first < c.length; first += kBlock) {
          const int64_t rows = std::min(kBlock, c.length - first), seen = first + rows;
          normalize_and_rotate(rows, c.row(c.q, b, first, head), c.q.stride(1), queries.data_ptr<S>(),
                               c.for_queries(first));
          const Tensor scores = all_scores.view(-1).narrow(0, 0, rows * seen).view({rows, seen});
          multiply(scores, queries.narrow(0, 0, rows), keys.narrow(0, 0, seen).t());
          causal_softmax(rows, first, seen, scores.data_ptr<S>(), inverse_sums,
                         lse.data_ptr<S>() + (b * c.H + head) * c.length + first);
          multiply(results.narrow(0, 0, rows), scores, values.narrow(0, 0, seen));
          scatter_rows(rows, c.D, results.data_ptr<S>(), inverse_sums, c.row(out, b, first, head),
                       out.stride(1));
        }
      }
    }
  });
}

struct Gradients {
  Tensor q, k, v;               // shapes of q, k and v, contiguous
  Tensor q_weights, k_weights;  // (tasks, D): each task's contribution
};

template <class T>
void backward(const Call<T>& c, const Tensor& grad_out, const Tensor& out, const Tensor& lse,
              const Gradients& grads) {
  using S = Compute<T>;
  at::parallel_for(0, c.B * c.Hkv, 1, [&](int64_t begin, int64_t end) {
    const at::AutoDispatchBelowADInplaceOrView no_gradients;
    const Tensor keys = c.space(c.length, c.D), values = c.space(c.length, c.D);
    const Tensor grad_keys = c.space(c.length, c.D), grad_values = c.space(c.length, c.D);
    const Tensor queries = c.space(kBlock, c.D), grad_queries = c.space(kBlock, c.D);
    const Tensor grad_rows = c.space(kBlock, c.D);
    const Tensor all_scores = c.space(kBlock, c.length), all_grads = c.space(kBlock, c.length);
    S delta[kBlock];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / c.Hkv, kv_head = task % c.Hkv, group = c.H / c.Hkv;
      c.load_head(b, kv_head, keys, values);
      // From the last block, which sees every key, to the first, so that the first product for a row of the
      // keys' gradients overwrites it and the others add to it.
      bool accumulate = false;
      for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        for (int64_t first = (c.length - 1) / kBlock * kBlock; first >= 0; first -= kBlock) {
          const int64_t rows = std::min(kBlock, c.length - first), seen = first + rows;
          const auto seen_of = [&](const Tensor& x) { return x.narrow(0, 0, seen); };
          const auto block_of = [&](const Tensor& x) { return x.narrow(0, 0, rows); };
          const auto tile_of = [&](const Tensor& x) {
            return x.view(-1).narrow(0, 0, rows * seen).view({rows, seen});
          };
          normalize_and_rotate(rows, c.row(c.q, b, first, head), c.q.stride(1), queries.data_ptr<S>(),
                               c.for_queries(first));
          gather_rows(rows, c.D, c.row(grad_out, b, first, head), grad_out.stride(1),
                      grad_rows.data_ptr<S>());
          // The backward of softmax needs Σ_j p_ij·dp_ij, which equals ⟨dO_i, O_i⟩.
          row_dots(rows, c.D, grad_rows.data_ptr<S>(), c.row(out, b, first, head), out.stride(1), delta);
          const Tensor p = tile_of(all_scores), ds = tile_of(all_grads);
          multiply(p, block_of(queries), seen_of(keys).t());
          multiply(ds, block_of(grad_rows), seen_of(values).t());
          causal_softmax_backward(rows, first, seen, p.data_ptr<S>(), ds.data_ptr<S>(),
                                  lse.data_ptr<S>() + (b * c.H + head) * c.length + first, delta);
          multiply(seen_of(grad_values), p.t(), block_of(grad_rows), accumulate);
          multiply(seen_of(grad_keys), ds.t(), block_of(queries), accumulate);
          multiply(block_of(grad_queries), ds, seen_of(keys));
          normalize_and_rotate_backward(rows, grad_queries.data_ptr<S>(), c.row(c.q, b, first, head),
                                        c.q.stride(1), c.row(grads.q, b, first, head), grads.q.stride(1),
                                        grads.q_weights.data_ptr<S>() + task * c.D, c.for_queries(first));
          accumulate = true;
        }
      }
      normalize_and_rotate_backward(c.length, grad_keys.data_ptr<S>(), c.row(c.k, b, 0, kv_head),
                                    c.k.stride(1), c.row(grads.k, b, 0, kv_head), grads.k.stride(1),
                                    grads.k_weights.data_ptr<S>() + task * c.D, c.for_keys());
      scatter_rows<T, S>(c.length, c.D, grad_values.data_ptr<S>(), nullptr, c.row(grads.v, b, 0, kv_head),
                         grads.v.stride(1));
    }
  });
}

// float16 is computed in float32 and rounded at the end.
Tensor widened(const Tensor& x) { return x.scalar_type() == at::kHalf ? x.to(at::kFloat) : x; }

std::tuple<Tensor, Tensor> rope_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                          const Tensor& q_weight, const Tensor& k_weight, double theta,
                                          double eps) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  check_rope_attention(q, k, v, q_weight, k_weight);
  const Tensor wide = widened(q);
  const Tensor out = at::empty(wide.sizes(), wide.options());
  const Tensor lse =
      at::empty({q.size(0), q.size(2), q.size(1)}, q.options().dtype(state_dtype(q.scalar_type())));
  with_type(wide.scalar_type(), [&](auto type) {
    forward(Call<decltype(type)>(wide, widened(k), widened(v), q_weight, k_weight, theta, eps), out, lse);
  });
  return {out.to(q.scalar_type()), lse};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rope_attention_backward(
    const Tensor& grad_out, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& q_weight,
    const Tensor& k_weight, const Tensor& out, const Tensor& lse, double theta, double eps) {
  const at::AutoDispatchBelowADInplaceOrView no_gradients;
  check_rope_attention(q, k, v, q_weight, k_weight);
  TORCH_CHECK_VALUE(grad_out.sizes() == q.sizes() && out.sizes() == q.sizes() &&
                        grad_out.scalar_type() == q.scalar_type() && out.scalar_type() == q.scalar_type(),
                    "rope_attention: out and its gradient must have q's shape and dtype");
  TORCH_CHECK_VALUE(lse.sizes() == at::IntArrayRef({q.size(0), q.size(2), q.size(1)}) &&
                        lse.scalar_type() == state_dtype(q.scalar_type()),
                    "rope_attention: lse must be (B, H, T) in the compute dtype, not ", lse.sizes(), " of ",
                    lse.scalar_type());
  const Tensor wide = widened(q);
  const auto like = [&](const Tensor& x) { return at::empty(x.sizes(), wide.options()); };
  const auto shares = wide.options().dtype(state_dtype(q.scalar_type()));
  const int64_t tasks = q.size(0) * k.size(2), D = q.size(3);
  const Gradients grads{like(q), like(k), like(v), at::zeros({tasks, D}, shares),
                        at::zeros({tasks, D}, shares)};
  const Tensor log_sums = lse.contiguous();
  with_type(wide.scalar_type(), [&](auto type) {
    using OneCall = Call<decltype(type)>;
    const OneCall call(wide, widened(k), widened(v), q_weight, k_weight, theta, eps);
    backward(call, OneCall::rows_of(widened(grad_out)), OneCall::rows_of(widened(out)), log_sums, grads);
  });
  const at::ScalarType dtype = q.scalar_type();
  return {grads.q.to(dtype), grads.k.to(dtype), grads.v.to(dtype),
          grads.q_weights.sum(0).to(q_weight.scalar_type()),
          grads.k_weights.sum(0).to(k_weight.scalar_type())};
}

}  // namespace

TORCH_LIBRARY_IMPL(arsbench, CPU, library) {
  library.impl("rope_attention", rope_attention);
  library.impl("rope_attention_backward", rope_attention_backward);
}

}  // namespace arsbench
