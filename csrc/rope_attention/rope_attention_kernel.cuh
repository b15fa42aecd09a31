// The launches of rope_attention's kernels, on raw pointers.
#pragma once

#include <utility>

#include "rope_attention_key_gradients.cuh"
#include "rope_attention_query_gradients.cuh"

namespace arsbench::rope_attention_cuda {

// The kinds of products, with their tile sizes. Shared memory in KiB for D = 64, 128 (and 256 in the
// forward):
//   bf16   forward 36, 68, 99     key gradients 36.5, 68.5   query gradients 36, 68
//   float  forward 44, 76, 68     key gradients 39.3, 71.3   query gradients 39, 71
//   TF32   forward 51, 66, 97.5   key gradients 51.3, 82.6   query gradients 51, 82.5
// One block fits into the 99 KiB of sm_86. Two blocks fit into the 163 KiB of sm_80, except for D = 256 in
// bf16 and TF32, and for the TF32 gradients at D = 128.
struct BFloat16Products {
  using Scalar = __nv_bfloat16;
  template <int HeadDim>
  using Forward = TensorCoreTiles<HeadDim, HeadDim <= 128 ? 64 : 32, HeadDim <= 128>;
  // The two accumulators of the key gradients leave no registers for the block's own tiles.
  template <int HeadDim>
  using KeyGradients = TensorCoreTiles<HeadDim, 32, false>;
  template <int HeadDim>
  using QueryGradients = TensorCoreTiles<HeadDim, 32, true>;
};
struct Float32Products {
  using Scalar = float;
  template <int HeadDim>
  using Forward = FloatTiles<HeadDim, HeadDim <= 128 ? 4 : 2, HeadDim <= 128 ? 4 : 2>;
  template <int HeadDim>
  using KeyGradients = FloatTiles<HeadDim, 2, 4>;
  template <int HeadDim>
  using QueryGradients = FloatTiles<HeadDim, 2, 4>;
};
struct Tf32Products {
  using Scalar = float;
  template <int HeadDim>
  using Forward = Tf32Tiles<HeadDim, HeadDim <= 64 ? 32 : 16, HeadDim <= 128 ? 2 : 1>;
  template <int HeadDim>
  using KeyGradients = Tf32Tiles<HeadDim, 16, HeadDim <= 64 ? 2 : 1>;
  template <int HeadDim>
  using QueryGradients = Tf32Tiles<HeadDim, 16, HeadDim <= 64 ? 2 : 1>;
};

constexpr bool has_forward(int64_t head_dim) { return head_dim == 64 || head_dim == 128 || head_dim == 256; }
constexpr bool has_backward(int64_t head_dim) { return head_dim == 64 || head_dim == 128; }

inline int64_t quotient_rounded_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class Tiles>
int64_t blocks(int64_t length, int64_t tasks) {
  return quotient_rounded_up(length, Tiles::kRows) * tasks;
}

inline dim3 grid_of(int64_t blocks) { return dim3(static_cast<unsigned>(blocks)); }

template <class Products, int HeadDim>
void forward(const ForwardArguments<typename Products::Scalar>& arguments, cudaStream_t stream) {
  using Tiles = typename Products::template Forward<HeadDim>;
  const Sizes& sizes = arguments.sizes;
  const int64_t grid = blocks<Tiles>(sizes.length, static_cast<int64_t>(sizes.batch) * sizes.heads);
  if (grid == 0) return;
  simt::launch(forward_kernel<Tiles>, grid_of(grid), dim3(kThreads), ForwardLayout<Tiles>::kBytes, stream,
               arguments);
}

// Head dimensions: see has_forward.
template <class Products>
void forward(const ForwardArguments<typename Products::Scalar>& arguments, int64_t head_dim,
             cudaStream_t stream) {
  if (head_dim == 64) forward<Products, 64>(arguments, stream);
  if (head_dim == 128) forward<Products, 128>(arguments, stream);
  if (head_dim == 256) forward<Products, 256>(arguments, stream);
}

// The backward's workspace, in floats: delta, then the blocks' contributions to one weight's gradient, then
// their sums over kSumRows blocks each.
template <class Products, int HeadDim>
struct Workspace {
  int64_t delta, query_blocks, key_blocks;

  explicit Workspace(const Sizes& sizes) {
    const int64_t query_heads = static_cast<int64_t>(sizes.batch) * sizes.heads;
    const int64_t key_heads = static_cast<int64_t>(sizes.batch) * sizes.kv_heads;
    delta = query_heads * sizes.length;
    query_blocks = blocks<typename Products::template QueryGradients<HeadDim>>(sizes.length, query_heads);
    key_blocks = blocks<typename Products::template KeyGradients<HeadDim>>(sizes.length, key_heads);
  }
  int64_t shares() const { return (query_blocks > key_blocks ? query_blocks : key_blocks) * HeadDim; }
  int64_t total() const {
    return delta + shares() + quotient_rounded_up(shares(), kSumRows * HeadDim) * HeadDim;
  }
};

// out (Columns) ← the sum of shares (rows, Columns), in a fixed order. Overwrites shares and spare, which has
// space for one sum per kSumRows rows.
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

template <class Products, int HeadDim>
void backward(const BackwardArguments<typename Products::Scalar>& arguments, cudaStream_t stream) {
  using Scalar = typename Products::Scalar;
  using KeyTiles = typename Products::template KeyGradients<HeadDim>;
  using QueryTiles = typename Products::template QueryGradients<HeadDim>;
  const Workspace<Products, HeadDim> sizes(arguments.sizes);
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

// Head dimensions: see has_backward. rows must be positive.
template <class Products>
void backward(const BackwardArguments<typename Products::Scalar>& arguments, int64_t head_dim,
              cudaStream_t stream) {
  if (head_dim == 64) backward<Products, 64>(arguments, stream);
  if (head_dim == 128) backward<Products, 128>(arguments, stream);
}

template <class Products>
int64_t workspace_floats(const Sizes& sizes, int64_t head_dim) {
  return head_dim == 64 ? Workspace<Products, 64>(sizes).total() : Workspace<Products, 128>(sizes).total();
}

#if defined(__CUDACC__)
// nvcc compiles every kernel from this file; a host program only compiles those that it calls.
template void forward<BFloat16Products>(const ForwardArguments<__nv_bfloat16>&, int64_t, cudaStream_t);
template void forward<Float32Products>(const ForwardArguments<float>&, int64_t, cudaStream_t);
template void forward<Tf32Products>(const ForwardArguments<float>&, int64_t, cudaStream_t);
template void backward<BFloat16Products>(const BackwardArguments<__nv_bfloat16>&, int64_t, cudaStream_t);
template void backward<Float32Products>(const BackwardArguments<float>&, int64_t, cudaStream_t);
template void backward<Tf32Products>(const BackwardArguments<float>&, int64_t, cudaStream_t);
#endif

}  // namespace arsbench::rope_attention_cuda
