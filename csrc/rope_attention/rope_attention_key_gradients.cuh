// Backward, the kernel whose blocks handle keys: dk, dv and contributions to the gradient of the keys' norm
// weight.
#pragma once

#include "rope_attention_backward.cuh"
#include "rope_attention_norm_gradient.cuh"

namespace arsbench::rope_attention_cuda {

template <class Tiles>
struct KeyGradientsLayout {
  static constexpr int kOwn = Tiles::OwnTile::kElements, kStreamed = Tiles::StreamedTile::kElements;
  static constexpr int kKeys = 0, kValues = kOwn;  // in elements
  static constexpr int kQueries = kValues + kOwn;
  static constexpr int kGrads = kQueries + Tiles::kStages * kStreamed;
  static constexpr int kStatistics = kGrads + Tiles::kStages * kStreamed;
  static constexpr int kStatisticsFloats = Tiles::kStages * 2 * Tiles::kColumns;
  static constexpr size_t kBytes = kStatistics * sizeof(typename Tiles::Scalar) +
                                   (kStatisticsFloats + Tiles::kScratchFloats) * sizeof(float);
  static_assert(2 * Tiles::kColumns <= kThreads, "a thread loads at most one of lse and delta");
};

// Adds scores times a streamed tile. A key's gradient has a term from every later query of every head that
// uses it, possibly thousands. The error of one long float32 sum grows with its length, so each tile is
// summed separately first. Rounded products have larger errors anyway, and their kernels have no registers to
// spare.
template <class Tiles>
__device__ __forceinline__ void add_product(typename Tiles::Outputs& sum, typename Tiles::Scores& scores,
                                            const typename Tiles::Scalar* streamed, float* scratch) {
  if constexpr (Tiles::kExactProducts) {
    typename Tiles::Outputs tile;
    Tiles::accumulate(tile, scores, streamed, scratch);
#pragma unroll
    for (int i = 0; i < Tiles::kRowsPerThread; ++i)
#pragma unroll
      for (int n = 0; n < Tiles::kOutputs; ++n) sum(i, n) += tile(i, n);
  } else {
    Tiles::accumulate(sum, scores, streamed, scratch);
  }
}

// dk and dv. One block for each (key-value head, tile of keys); it streams the queries that see the tile,
// from all heads that use these keys. The first tiles, which most queries see, start first.
template <class Tiles>
__global__ void __launch_bounds__(kThreads, 2)
    key_gradients_kernel(const BackwardArguments<typename Tiles::Scalar> arguments, const float* delta,
                         float* weight_shares) {
  using Scalar = typename Tiles::Scalar;
  using Layout = KeyGradientsLayout<Tiles>;
  SIMT_DYNAMIC_SHARED(Scalar, shared);
  Scalar* const keys = shared + Layout::kKeys;
  Scalar* const values = shared + Layout::kValues;
  Scalar* const queries = shared + Layout::kQueries;
  Scalar* const grads = shared + Layout::kGrads;
  float* const statistics = reinterpret_cast<float*>(shared + Layout::kStatistics);
  float* const scratch = statistics + Layout::kStatisticsFloats;

  const Sizes sizes = arguments.sizes;
  const Preparation& preparation = arguments.preparation;
  const int length = sizes.length, thread = static_cast<int>(threadIdx.x);
  const int tasks = sizes.batch * sizes.kv_heads, task = static_cast<int>(blockIdx.x) % tasks;
  const int first = static_cast<int>(blockIdx.x) / tasks * Tiles::kRows;
  const int batch = task / sizes.kv_heads, kv_head = task % sizes.kv_heads;
  const int group = sizes.heads / sizes.kv_heads;
  const int first_tile = first / Tiles::kColumns;
  const int tiles = (length + Tiles::kColumns - 1) / Tiles::kColumns - first_tile;
  const int steps = group * tiles;

  float statistic = 0;  // being copied from global to shared memory
  const auto fetch = [&](int step) {
    const int stage = step % Tiles::kStages * Layout::kStreamed;
    const int head = kv_head * group + step / tiles, start = (first_tile + step % tiles) * Tiles::kColumns;
    Tiles::StreamedTile::fetch(queries + stage, arguments.q.head(batch, head), arguments.q.position_stride,
                               start, length);
    Tiles::StreamedTile::fetch(grads + stage, arguments.grad_out.head(batch, head),
                               arguments.grad_out.position_stride, start, length);
    ptx::cp_async_commit();
    if (thread < 2 * Tiles::kColumns) {
      const float* const from = thread < Tiles::kColumns ? arguments.lse : delta;
      const int position = start + thread % Tiles::kColumns;
      const int64_t row = (static_cast<int64_t>(batch) * sizes.heads + head) * length + position;
      statistic = position < length ? from[row] : 0.0f;
    }
  };
  const Scalar* const k = arguments.k.head(batch, kv_head);
  Tiles::OwnTile::fetch(keys, k, arguments.k.position_stride, first, length);
  Tiles::OwnTile::fetch(values, arguments.v.head(batch, kv_head), arguments.v.position_stride, first, length);
  ptx::cp_async_commit();
  fetch(0);
  ptx::cp_async_wait<1>();
  Tiles::OwnTile::prepare(keys, preparation.k_weight, preparation, first, length);
  __syncthreads();
  typename Tiles::Own own_keys(keys), own_values(values);

  typename Tiles::Outputs grad_k, grad_v;
  const float scale_log2 = arguments.scale * kLog2E;
  for (int step = 0; step < steps; ++step) {
    const int stage = step % Tiles::kStages, buffer = stage * Layout::kStreamed;
    const int start = (first_tile + step % tiles) * Tiles::kColumns;
    float* const lse_log2 = statistics + stage * 2 * Tiles::kColumns;
    float* const deltas = lse_log2 + Tiles::kColumns;
    if (Tiles::kStages == 1 && step > 0) {
      __syncthreads();  // all threads are done with the previous tile
      fetch(step);
    }
    ptx::cp_async_wait<0>();
    Tiles::StreamedTile::prepare(queries + buffer, preparation.q_weight, preparation, start, length);
    if (thread < 2 * Tiles::kColumns)
      lse_log2[thread] = thread < Tiles::kColumns ? statistic * kLog2E : statistic;
    __syncthreads();
    if (Tiles::kStages == 2 && step + 1 < steps) fetch(step + 1);

    typename Tiles::Scores p, ds;
    Tiles::scores(p, own_keys, queries + buffer);
    Tiles::scores(ds, own_values, grads + buffer);
#pragma unroll
    for (int i = 0; i < Tiles::kRowsPerThread; ++i)
#pragma unroll
      for (int n = 0; n < Tiles::kScores; ++n) {
        const int column = Tiles::score_column(n);
        const bool visible = first + Tiles::row(i) <= start + column;
        soft_max_backward(p(i, n), ds(i, n), visible, scale_log2, lse_log2[column], deltas[column]);
      }
    add_product<Tiles>(grad_v, p, grads + buffer, scratch);
    add_product<Tiles>(grad_k, ds, queries + buffer, scratch);
  }

  const HeadRows<Scalar> v_rows = contiguous_rows(arguments.grad_v, length, sizes.kv_heads, Tiles::kHeadDim);
#pragma unroll
  for (int i = 0; i < Tiles::kRowsPerThread; ++i) {
    const int position = first + Tiles::row(i);
    if (position < length) {
      Scalar* const to = v_rows.head(batch, kv_head) + position * v_rows.position_stride;
#pragma unroll
      for (int n = 0; n < Tiles::kOutputs; n += Tiles::kVector) {
        float grad[Tiles::kVector];
#pragma unroll
        for (int e = 0; e < Tiles::kVector; ++e) grad[e] = grad_v(i, n + e);
        store(to + Tiles::output_column(n), grad);
      }
    }
  }
  const HeadRows<Scalar> k_rows = contiguous_rows(arguments.grad_k, length, sizes.kv_heads, Tiles::kHeadDim);
  const NormRows<Scalar> rows{k,
                              arguments.k.position_stride,
                              k_rows.head(batch, kv_head),
                              k_rows.position_stride,
                              preparation.k_weight,
                              preparation.cos,
                              preparation.sin,
                              preparation.eps,
                              first,
                              length};
  store_norm_gradient<Tiles>(grad_k, arguments.scale, rows, reinterpret_cast<float*>(shared),
                             weight_shares + static_cast<int64_t>(blockIdx.x) * Tiles::kHeadDim);
}

}  // namespace arsbench::rope_attention_cuda
