// C entry points of rope_attention's kernels.
#include <cmath>
#include <vector>

#include "api.h"
#include "rope_attention/rope_attention_kernel.cuh"

namespace {

using namespace arsbench::rope_attention_cuda;

// `strides`: of batch rows, of positions and of heads.
template <class Scalar>
HeadRows<const Scalar> rows(const void* data, const int64_t* strides) {
  return {static_cast<const Scalar*>(data), strides[0], strides[1], strides[2]};
}

Sizes sizes_of(const int64_t* sizes) {
  return {static_cast<int>(sizes[0]), static_cast<int>(sizes[1]), static_cast<int>(sizes[2]),
          static_cast<int>(sizes[3])};
}

// tensors: q, k, v, q_weight, k_weight, cos, sin, out, lse. sizes: B, T, H, Hkv, D, then the strides of q, k
// and v.
template <class Products>
void run_forward(void** tensors, const int64_t* sizes, double eps) {
  using Scalar = typename Products::Scalar;
  ForwardArguments<Scalar> arguments{};
  arguments.sizes = sizes_of(sizes);
  arguments.q = rows<Scalar>(tensors[0], sizes + 5);
  arguments.k = rows<Scalar>(tensors[1], sizes + 8);
  arguments.v = rows<Scalar>(tensors[2], sizes + 11);
  arguments.preparation = {static_cast<const float*>(tensors[3]), static_cast<const float*>(tensors[4]),
                           static_cast<const float*>(tensors[5]), static_cast<const float*>(tensors[6]),
                           static_cast<float>(eps)};
  arguments.out = static_cast<Scalar*>(tensors[7]);
  arguments.lse = static_cast<float*>(tensors[8]);
  arguments.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(sizes[4])));
  forward<Products>(arguments, sizes[4], nullptr);
}

// tensors: those of the forward, then grad_out and the gradients of q, k, v and the weights. sizes: those of
// the forward, then the strides of grad_out.
template <class Products>
void run_backward(void** tensors, const int64_t* sizes, double eps) {
  using Scalar = typename Products::Scalar;
  BackwardArguments<Scalar> arguments{};
  arguments.sizes = sizes_of(sizes);
  arguments.q = rows<Scalar>(tensors[0], sizes + 5);
  arguments.k = rows<Scalar>(tensors[1], sizes + 8);
  arguments.v = rows<Scalar>(tensors[2], sizes + 11);
  arguments.grad_out = rows<Scalar>(tensors[9], sizes + 14);
  arguments.preparation = {static_cast<const float*>(tensors[3]), static_cast<const float*>(tensors[4]),
                           static_cast<const float*>(tensors[5]), static_cast<const float*>(tensors[6]),
                           static_cast<float>(eps)};
  arguments.out = static_cast<const Scalar*>(tensors[7]);
  arguments.lse = static_cast<const float*>(tensors[8]);
  arguments.grad_q = static_cast<Scalar*>(tensors[10]);
  arguments.grad_k = static_cast<Scalar*>(tensors[11]);
  arguments.grad_v = static_cast<Scalar*>(tensors[12]);
  arguments.grad_q_weight = static_cast<float*>(tensors[13]);
  arguments.grad_k_weight = static_cast<float*>(tensors[14]);
  arguments.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(sizes[4])));
  std::vector<float> workspace(workspace_floats<Products>(arguments.sizes, sizes[4]), NAN);
  arguments.workspace = workspace.data();
  backward<Products>(arguments, sizes[4], nullptr);
}

}  // namespace

// products: 0 float32, 1 bf16, 2 TF32.
SIMT_API const char* rope_attention_forward(int64_t products, void** tensors, int64_t* sizes, double eps) {
  return reported([&] {
    if (products == 0) run_forward<Float32Products>(tensors, sizes, eps);
    if (products == 1) run_forward<BFloat16Products>(tensors, sizes, eps);
    if (products == 2) run_forward<Tf32Products>(tensors, sizes, eps);
  });
}

SIMT_API const char* rope_attention_backward(int64_t products, void** tensors, int64_t* sizes, double eps) {
  return reported([&] {
    if (products == 0) run_backward<Float32Products>(tensors, sizes, eps);
    if (products == 1) run_backward<BFloat16Products>(tensors, sizes, eps);
    if (products == 2) run_backward<Tf32Products>(tensors, sizes, eps);
  });
}

SIMT_API const char* rope_attention_sum_rows(float* shares, float* spare, int64_t rows, float* out) {
  return reported([&] { sum_rows<64>(shares, spare, rows, out, nullptr); });
}
