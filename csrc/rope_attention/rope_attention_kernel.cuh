// What launches rope_attention's kernels, on raw pointers.
#pragma once

#include <utility>

#include "rope_attention_key_gradients.cuh"
#include "rope_attention_query_gradients.cuh"

namespace arsbench::rope_attention_cuda {

// Tile sizes. Shared memory in KiB for D = 64, 128 (and 256 in the forward):
//   bf16   forward 36, 68, 99   key gradients 36.5, 68.5   query gradients 36, 68
//   float  forward 44, 76, 68   key gradients 39.3, 71.3   query gradients 39, 71
// so that one block fits the 99 KiB of sm_86, and two the 163 KiB of sm_80 but for D = 256 in bf16.
template <class Scalar, int HeadDim>
struct TilesOf;
template <int HeadDim>
struct TilesOf<__nv_bfloat16, HeadDim> {
  using Forward = TensorCoreTiles<HeadDim, HeadDim <= 128 ? 64 : 32, HeadDim <= 128>;
  // Two accumulators leave the keys' side no registers for its own tiles.
  using KeyGradients = TensorCoreTiles<HeadDim, 32, false>;
  using QueryGradients = TensorCoreTiles<HeadDim, 32, true>;
};
template <int HeadDim>
struct TilesOf<float, HeadDim> {
  using Forward = FloatTiles<HeadDim, HeadDim <= 128 ? 4 : 2, HeadDim <= 128 ? 4 : 2>;
  using KeyGradients = FloatTiles<HeadDim, 2, 4>;
  using QueryGradients = FloatTiles<HeadDim, 2, 4>;
};

constexpr bool has_forward(int64_t head_dim) { return head_dim == 64 || head_dim == 128 || head_dim == 256; }
constexpr bool has_backward(int64_t head_dim) { return head_dim == 64 || head_dim == 128; }

inline int64_t quotient_rounded_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class Tiles>
int64_t blocks(int64_t length, int64_t tasks) {
  return quotient_rounded_up(length, Tiles::kRows) * tasks;
}

inline dim3 grid_of(int64_t blocks) { return dim3(static_cast<unsigned>(blocks)); }

template <int HeadDim, class Scalar>
void forward(const ForwardArguments<Scalar>& arguments, cudaStream_t stream) {
  using Tiles = typename TilesOf<Scalar, HeadDim>::Forward;
  const Sizes& sizes = arguments.sizes;
  const int64_t grid = blocks<Tiles>(sizes.length, static_cast<int64_t>(sizes.batch) * sizes.heads);
  if (grid == 0) return;
  simt::launch(forward_kernel<Tiles>, grid_of(grid), dim3(kThreads), ForwardLayout<Tiles>::kBytes, stream,
               arguments);
}

// Head dimensions: see has_forward.
template <class Scalar>
void forward(const ForwardArguments<Scalar>& arguments, int64_t head_dim, cudaStream_t stream) {
  if (head_dim == 64) forward<64>(arguments, stream);
  if (head_dim == 128) forward<128>(arguments, stream);
  if (head_dim == 256) forward<256>(arguments, stream);
}

// The backward's workspace, in floats: delta, then the blocks' shares of one weight's gradient, then the sums
// of kSumRows of them each.
template <class Scalar, int HeadDim>
struct Workspace {
  using Tiles = TilesOf<Scalar, HeadDim>;
  int64_t delta, query_blocks, key_blocks;

  explicit Workspace(const Sizes& sizes) {
    const int64_t query_heads = static_cast<int64_t>(sizes.batch) * sizes.heads;
    const int64_t key_heads = static_cast<int64_t>(sizes.batch) * sizes.kv_heads;
    delta = query_heads * sizes.length;
    query_blocks = blocks<typename Tiles::QueryGradients>(sizes.length, query_heads);
    key_blocks = blocks<typename Tiles::KeyGradients>(sizes.length, key_heads);
  }
  int64_t shares() const { return (query_blocks > key_blocks ? query_blocks : key_blocks) * HeadDim; }
  int64_t total() const {
    return delta + shares() + quotient_rounded_up(shares(), kSumRows * HeadDim) * HeadDim;
  }
};

// out (Columns) ← the sum of shares (rows, Columns), always in the same order. Overwrites shares and spare,
// which has room for a sum of every kSumRows rows.
template <int Columns>
void sum_rows(float* shares, float* spare, int64_t rows, float* out, cudaStream_t stream) {
  for (bool last = false; !last;) {
    const int64_t groups = quotient_rounded_up(rows, kSumRows);
    last = groups == 1;
    simt::launch(sum_rows_kernel<Columns>, dim3(static_cast<unsigned>(groups), Columns / kSumColumns),
                 dim3(kSumColumns * kSumThreads), 0, stream, shares, rows, last ? out : spare);
    std::swap(shares, spare);
    rows = groups;
  }
}

template <int HeadDim, class Scalar>
void backward(const BackwardArguments<Scalar>& arguments, cudaStream_t stream) {
  using Tiles = TilesOf<Scalar, HeadDim>;
  using KeyTiles = typename Tiles::KeyGradients;
  using QueryTiles = typename Tiles::QueryGradients;
  const Workspace<Scalar, HeadDim> sizes(arguments.sizes);
  float* const delta = arguments.workspace;
  float* const shares = delta + sizes.delta;
  float* const spare = shares + sizes.shares();
  constexpr int kRowsPerBlock = kThreads * Chunk<Scalar>::kSize / HeadDim;
  simt::launch(delta_kernel<Scalar, HeadDim>, grid_of(quotient_rounded_up(sizes.delta, kRowsPerBlock)),
               dim3(kThreads), 0, stream, arguments, delta);
  simt::launch(key_gradients_kernel<KeyTiles>, grid_of(sizes.key_blocks), dim3(kThreads),
               KeyGradientsLayout<KeyTiles>::kBytes, stream, arguments, delta, shares);
  sum_rows<HeadDim>(shares, spare, sizes.key_blocks, arguments.grad_k_weight, stream);
  simt::launch(query_gradients_kernel<QueryTiles>, grid_of(sizes.query_blocks), dim3(kThreads),
               QueryGradientsLayout<QueryTiles>::kBytes, stream, arguments, delta, shares);
  sum_rows<HeadDim>(shares, spare, sizes.query_blocks, arguments.grad_q_weight, stream);
}

// Head dimensions: see has_backward. There must be rows.
template <class Scalar>
void backward(const BackwardArguments<Scalar>& arguments, int64_t head_dim, cudaStream_t stream) {
  if (head_dim == 64) backward<64>(arguments, stream);
  if (head_dim == 128) backward<128>(arguments, stream);
}

template <class Scalar>
int64_t workspace_floats(const Sizes& sizes, int64_t head_dim) {
  return head_dim == 64 ? Workspace<Scalar, 64>(sizes).total() : Workspace<Scalar, 128>(sizes).total();
}

#if defined(__CUDACC__)
// nvcc compiles every kernel from this file alone; a program for the host only what it calls.
template void forward(const ForwardArguments<__nv_bfloat16>&, int64_t, cudaStream_t);
template void forward(const ForwardArguments<float>&, int64_t, cudaStream_t);
template void backward(const BackwardArguments<__nv_bfloat16>&, int64_t, cudaStream_t);
template void backward(const BackwardArguments<float>&, int64_t, cudaStream_t);
#endif

}  // namespace arsbench::rope_attention_cuda
