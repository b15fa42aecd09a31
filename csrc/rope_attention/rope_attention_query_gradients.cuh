// Backward, the kernel whose blocks handle queries: dq and contributions to the gradient of the queries' norm
// weight.
#pragma once

#include "rope_attention_backward.cuh"
#include "rope_attention_norm_gradient.cuh"

namespace arsbench::rope_attention_cuda {

template <class Tiles>
struct QueryGradientsLayout {
  static constexpr int kOwn = Tiles::OwnTile::kElements, kStreamed = Tiles::StreamedTile::kElements;
  static constexpr int kQueries = 0, kGrads = kOwn;  // in elements
  static constexpr int kKeys = kGrads + kOwn;
  static constexpr int kValues = kKeys + Tiles::kStages * kStreamed;
  static constexpr int kScratch = kValues + Tiles::kStages * kStreamed;
  static constexpr size_t kBytes =
      kScratch * sizeof(typename Tiles::Scalar) + Tiles::kScratchFloats * sizeof(float);
};

// dq. One block for each (head, tile of queries); it streams the keys and values that they see. The last
// tiles, which see the most, start first.
template <class Tiles>
__global__ void __launch_bounds__(kThreads, 2)
    query_gradients_kernel(const BackwardArguments<typename Tiles::Scalar> arguments, const float* delta,
                           float* weight_shares) {
  using Scalar = typename Tiles::Scalar;
  using Layout = QueryGradientsLayout<Tiles>;
  SIMT_DYNAMIC_SHARED(Scalar, shared);
  Scalar* const queries = shared + Layout::kQueries;
  Scalar* const grads = shared + Layout::kGrads;
  Scalar* const keys = shared + Layout::kKeys;
  Scalar* const values = shared + Layout::kValues;
  float* const scratch = reinterpret_cast<float*>(shared + Layout::kScratch);

  const Sizes sizes = arguments.sizes;
  const Preparation& preparation = arguments.preparation;
  const int length = sizes.length;
  const int tasks = sizes.batch * sizes.heads, task = static_cast<int>(blockIdx.x) % tasks;
  const int first =
      (static_cast<int>(gridDim.x) / tasks - 1 - static_cast<int>(blockIdx.x) / tasks) * Tiles::kRows;
  const int batch = task / sizes.heads, head = task % sizes.heads;
  const int kv_head = head / (sizes.heads / sizes.kv_heads);
  const Scalar* const q = arguments.q.head(batch, head);
  const Scalar* const k = arguments.k.head(batch, kv_head);
  const Scalar* const v = arguments.v.head(batch, kv_head);

  const auto fetch = [&](int tile) {
    const int stage = tile % Tiles::kStages * Layout::kStreamed, start = tile * Tiles::kColumns;
    Tiles::StreamedTile::fetch(keys + stage, k, arguments.k.position_stride, start, length);
    Tiles::StreamedTile::fetch(values + stage, v, arguments.v.position_stride, start, length);
    ptx::cp_async_commit();
  };
  Tiles::OwnTile::fetch(queries, q, arguments.q.position_stride, first, length);
  Tiles::OwnTile::fetch(grads, arguments.grad_out.head(batch, head), arguments.grad_out.position_stride,
                        first, length);
  ptx::cp_async_commit();
  fetch(0);
  ptx::cp_async_wait<1>();
  Tiles::OwnTile::prepare(queries, preparation.q_weight, preparation, first, length);
  __syncthreads();
  typename Tiles::Own own_queries(queries), own_grads(grads);

  float lse_log2[Tiles::kRowsPerThread], deltas[Tiles::kRowsPerThread];
#pragma unroll
  for (int i = 0; i < Tiles::kRowsPerThread; ++i) {
    const int position = first + Tiles::row(i);
    const int64_t row = static_cast<int64_t>(task) * length + position;
    lse_log2[i] = position < length ? arguments.lse[row] * kLog2E : 0.0f;
    deltas[i] = position < length ? delta[row] : 0.0f;
  }
  typename Tiles::Outputs grad_q;
  const float scale_log2 = arguments.scale * kLog2E;
  const int seen = first + Tiles::kRows < length ? first + Tiles::kRows : length;
  const int tiles = (seen + Tiles::kColumns - 1) / Tiles::kColumns;
  for (int tile = 0; tile < tiles; ++tile) {
    const int buffer = tile % Tiles::kStages * Layout::kStreamed, start = tile * Tiles::kColumns;
    if (Tiles::kStages == 1 && tile > 0) {
      __syncthreads();  // all threads are done with the previous tile
      fetch(tile);
    }
    ptx::cp_async_wait<0>();
    Tiles::StreamedTile::prepare(keys + buffer, preparation.k_weight, preparation, start, length);
    __syncthreads();
    if (Tiles::kStages == 2 && tile + 1 < tiles) fetch(tile + 1);

    typename Tiles::Scores p, ds;
    Tiles::scores(p, own_queries, keys + buffer);
    Tiles::scores(ds, own_grads, values + buffer);
#pragma unroll
    for (int i = 0; i < Tiles::kRowsPerThread; ++i)
#pragma unroll
      for (int n = 0; n < Tiles::kScores; ++n) {
        const bool visible = start + Tiles::score_column(n) <= first + Tiles::row(i);
        soft_max_backward(p(i, n), ds(i, n), visible, scale_log2, lse_log2[i], deltas[i]);
      }
    Tiles::accumulate(grad_q, ds, keys + buffer, scratch);
  }

  const HeadRows<Scalar> q_rows = contiguous_rows(arguments.grad_q, length, sizes.heads, Tiles::kHeadDim);
  const NormRows<Scalar> rows{q,
                              arguments.q.position_stride,
                              q_rows.head(batch, head),
                              q_rows.position_stride,
                              preparation.q_weight,
                              preparation.cos,
                              preparation.sin,
                              preparation.eps,
                              first,
                              length};
  store_norm_gradient<Tiles>(grad_q, arguments.scale, rows, reinterpret_cast<float*>(shared),
                             weight_shares + static_cast<int64_t>(blockIdx.x) * Tiles::kHeadDim);
}

}  // namespace arsbench::rope_attention_cuda
