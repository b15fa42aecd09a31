// Forward: a block handles a tile of one head's queries and streams the tiles of keys and values that they
// may see, with an online softmax (Dao et al. 2022, FlashAttention, algorithm 1).
#pragma once

#include "rope_attention_tiles.cuh"

namespace arsbench::rope_attention_cuda {

template <class Scalar>
struct ForwardArguments {
  Sizes sizes;
  HeadRows<const Scalar> q, k, v;
  Preparation preparation;
  Scalar* out;  // (B, T, H, D)
  float* lse;   // (B, H, T), natural logarithm
  float scale;  // multiplies the scores
};

constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;

template <class Tiles>
struct ForwardLayout {
  static constexpr int kOwn = Tiles::OwnTile::kElements, kStreamed = Tiles::StreamedTile::kElements;
  // In elements. A tile of queries that is kept in registers is prepared in the second buffer of keys, which
  // is still unused then.
  static constexpr int kKeys = 0;
  static constexpr int kValues = kKeys + Tiles::kStages * kStreamed;
  static constexpr int kAfterValues = kValues + Tiles::kStages * kStreamed;
  static constexpr int kQueries = Tiles::kOwnInRegisters ? kKeys + kStreamed : kAfterValues;
  static constexpr int kScratch = kAfterValues + (Tiles::kOwnInRegisters ? 0 : kOwn);
  static constexpr size_t kBytes =
      kScratch * sizeof(typename Tiles::Scalar) + Tiles::kScratchFloats * sizeof(float);
  static_assert(!Tiles::kOwnInRegisters || (Tiles::kStages == 2 && kOwn <= kStreamed), "");
};

// One block for each (head, tile of queries). Blocks start in the order of their numbers, so the last tiles,
// which see the most keys, come first.
template <class Tiles>
__global__ void __launch_bounds__(kThreads, 2)
    forward_kernel(const ForwardArguments<typename Tiles::Scalar> arguments) {
  using Scalar = typename Tiles::Scalar;
  using Layout = ForwardLayout<Tiles>;
  SIMT_DYNAMIC_SHARED(Scalar, shared);
  Scalar* const keys = shared + Layout::kKeys;
  Scalar* const values = shared + Layout::kValues;
  Scalar* const queries = shared + Layout::kQueries;
  float* const scratch = reinterpret_cast<float*>(shared + Layout::kScratch);

  const Sizes sizes = arguments.sizes;
  const int length = sizes.length;
  const int tasks = sizes.batch * sizes.heads, task = static_cast<int>(blockIdx.x) % tasks;
  const int first =
      (static_cast<int>(gridDim.x) / tasks - 1 - static_cast<int>(blockIdx.x) / tasks) * Tiles::kRows;
  const int batch = task / sizes.heads, head = task % sizes.heads;
  const int kv_head = head / (sizes.heads / sizes.kv_heads);
  const Scalar* const k = arguments.k.head(batch, kv_head);
  const Scalar* const v = arguments.v.head(batch, kv_head);

  const auto fetch = [&](int tile) {
    const int stage = tile % Tiles::kStages * Layout::kStreamed, start = tile * Tiles::kColumns;
    Tiles::StreamedTile::fetch(keys + stage, k, arguments.k.position_stride, start, length);
    Tiles::StreamedTile::fetch(values + stage, v, arguments.v.position_stride, start, length);
    ptx::cp_async_commit();
  };
  Tiles::OwnTile::fetch(queries, arguments.q.head(batch, head), arguments.q.position_stride, first, length);
  ptx::cp_async_commit();
  fetch(0);
  ptx::cp_async_wait<1>();
  Tiles::OwnTile::prepare(queries, arguments.preparation.q_weight, arguments.preparation, first, length);
  __syncthreads();
  typename Tiles::Own own(queries);

  typename Tiles::Outputs out;
  float largest[Tiles::kRowsPerThread], sum[Tiles::kRowsPerThread];  // of raw scores; of this thread's terms
#pragma unroll
  for (int i = 0; i < Tiles::kRowsPerThread; ++i) largest[i] = -INFINITY, sum[i] = 0;
  const float scale_log2 = arguments.scale * kLog2E;
  const int seen = first + Tiles::kRows < length ? first + Tiles::kRows : length;
  const int tiles = (seen + Tiles::kColumns - 1) / Tiles::kColumns;
  for (int tile = 0; tile < tiles; ++tile) {
    const int stage = tile % Tiles::kStages * Layout::kStreamed, start = tile * Tiles::kColumns;
    if (Tiles::kStages == 1 && tile > 0) {
      __syncthreads();  // all threads are done with the previous tile
      fetch(tile);
    }
    ptx::cp_async_wait<0>();
    Tiles::StreamedTile::prepare(keys + stage, arguments.preparation.k_weight, arguments.preparation, start,
                                 length);
    __syncthreads();
    if (Tiles::kStages == 2 && tile + 1 < tiles) fetch(tile + 1);

    typename Tiles::Scores s;
    Tiles::scores(s, own, keys + stage);
    if (start + Tiles::kColumns > first + 1) {
#pragma unroll
      for (int i = 0; i < Tiles::kRowsPerThread; ++i)
#pragma unroll
        for (int n = 0; n < Tiles::kScores; ++n)
          if (start + Tiles::score_column(n) > first + Tiles::row(i)) s(i, n) = -INFINITY;
    }
#pragma unroll
    for (int i = 0; i < Tiles::kRowsPerThread; ++i) {
      float now = largest[i];
#pragma unroll
      for (int n = 0; n < Tiles::kScores; ++n) now = fmaxf(now, s(i, n));
      now = max_over_lanes<Tiles::kRowLanes>(now);
      // Key 0 is in the first tile and visible to all queries, so `now` is finite unless the row has a NaN.
      const float shrink = exp2f((largest[i] - now) * scale_log2), shift = -now * scale_log2;
      largest[i] = now;
      sum[i] *= shrink;
#pragma unroll
      for (int n = 0; n < Tiles::kScores; ++n) {
        s(i, n) = exp2f(fmaf(s(i, n), scale_log2, shift));
        sum[i] += s(i, n);
      }
#pragma unroll
      for (int n = 0; n < Tiles::kOutputs; ++n) out(i, n) *= shrink;
    }
    Tiles::accumulate(out, s, values + stage, scratch);
  }

  const HeadRows<Scalar> rows = contiguous_rows(arguments.out, length, sizes.heads, Tiles::kHeadDim);
#pragma unroll
  for (int i = 0; i < Tiles::kRowsPerThread; ++i) {
    const int position = first + Tiles::row(i);
    const float total = sum_over_lanes<Tiles::kRowLanes>(sum[i]), inverse = 1.0f / total;
    if (position < length) {
      Scalar* const to = rows.head(batch, head) + position * rows.position_stride;
#pragma unroll
      for (int n = 0; n < Tiles::kOutputs; n += Tiles::kVector) {
        float values_out[Tiles::kVector];
#pragma unroll
        for (int e = 0; e < Tiles::kVector; ++e) values_out[e] = out(i, n + e) * inverse;
        store(to + Tiles::output_column(n), values_out);
      }
      if (threadIdx.x % Tiles::kRowLanes == 0)
        arguments.lse[static_cast<int64_t>(task) * length + position] =
            largest[i] * arguments.scale + logf(total);
    }
  }
}

}  // namespace arsbench::rope_attention_cuda
