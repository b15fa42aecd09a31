// The launches of the element-wise ARS ops on the GPU, on raw pointers. All tensors of a call have one dtype,
// float32 or bfloat16; moments, flatness vectors and directions are float32.
//
// Nothing is copied to the host: norms and coefficients stay on the device, as float64, one row per tensor.
// `partials` is space for the sums of chunks: multi_tensor::chunks_in(...) times the number of partial sums.
#pragma once

#include <cmath>
#include <cstdint>

#include "ars_moments_ascent.cuh"
#include "ars_moments_update.cuh"

namespace arsbench::ars_moments_cuda {

using multi_tensor::for_each_chunk;
using multi_tensor::Lists;
using multi_tensor::sum_per_tensor;

enum class Dtype { float32, bfloat16 };

// Calls run(type), where `type` is a value of the type of the elements.
template <class Run>
void with_type(Dtype dtype, const Run& run) {
  if (dtype == Dtype::float32)
    run(float{});
  else
    run(__nv_bfloat16{});
}

// Lists: params, grads, exp_avg_sqs, backups. One partial sum. `factors` is scratch space, one per index.
inline void perturb(Dtype dtype, const Lists<4>& lists, double rho, double beta2, double eps, int64_t step,
                    bool adaptive, double* partials, double* factors, cudaStream_t stream) {
  eps = eps > kSmallestEps ? eps : kSmallestEps;
  const double correction = 1 - std::pow(beta2, step > 2 ? step - 1 : 1) + kNormEps;
  const Ascent ascent{static_cast<float>(1 / correction), static_cast<float>(eps), adaptive};
  const AscentFactor factor{rho, kNormEps * eps, factors};
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    sum_per_tensor(lists, AscentSquareSum<T>(ascent), factor, partials, stream);
    for_each_chunk(lists, Ascend<T>{ascent, factors}, partials, stream);
  });
}

// Lists: params, backups.
inline void restore(Dtype dtype, const Lists<2>& lists, cudaStream_t stream) {
  with_type(dtype, [&](auto type) { for_each_chunk(lists, Restore<decltype(type)>{}, nullptr, stream); });
}

// Lists: grads, others; the dtypes of both are the same, or the others are float32. Three partial sums.
inline void dots(Dtype dtype, Dtype others, const Lists<2>& lists, double* partials, double* rows,
                 cudaStream_t stream) {
  const StoreRow store{rows};
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    if (dtype == others)
      sum_per_tensor(lists, Dots<T, T>{}, store, partials, stream);
    else
      sum_per_tensor(lists, Dots<T, float>{}, store, partials, stream);
  });
}

// Lists: grads, base_grads, residuals. Two partial sums. `factors` is scratch space, one per index.
inline void residual(Dtype dtype, const Lists<3>& lists, double* partials, double* factors,
                     cudaStream_t stream) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    sum_per_tensor(lists, ProjectionSums<T>{}, ProjectionFactor{factors}, partials, stream);
    for_each_chunk(lists, SubtractProjection<T>{factors}, partials, stream);
  });
}

// If strengths is null, nothing is injected, and the list of flats is null too.
inline Injection injection_of(double beta1, double beta2, double eps, int64_t step,
                              SecondMoment second_moment, const double* strengths) {
  return {{static_cast<float>(beta1), static_cast<float>(beta2), static_cast<float>(1 - beta1),
           static_cast<float>(1 - beta2), static_cast<float>(eps),
           static_cast<float>(1 / (1 - std::pow(beta1, step))),
           static_cast<float>(1 / (1 - std::pow(beta2, step))), strengths != nullptr,
           strengths != nullptr ? second_moment : SecondMoment::plain},
          strengths};
}

// Lists: grads, exp_avgs, exp_avg_sqs, directions, flats. Two partial sums.
inline void whiten(Dtype dtype, const Lists<5>& lists, const Injection& injection, double* partials,
                   double* energies, double* grad_norms, cudaStream_t stream) {
  with_type(dtype, [&](auto type) {
    sum_per_tensor(lists, Whiten<decltype(type)>(injection), StoreNorms{energies, grad_norms}, partials,
                   stream);
  });
}

// Lists: params, grads, exp_avgs, exp_avg_sqs, flats. One partial sum.
inline void adamw(Dtype dtype, const Lists<5>& lists, const Injection& injection, double lr,
                  double weight_decay, double* partials, double* grad_norms, cudaStream_t stream) {
  with_type(dtype, [&](auto type) {
    sum_per_tensor(lists, AdamW<decltype(type)>(injection, lr, weight_decay), StoreNorm{grad_norms}, partials,
                   stream);
  });
}

// Lists: params, directions.
inline void apply(Dtype dtype, const Lists<2>& lists, double lr, double weight_decay, const double* scales,
                  cudaStream_t stream) {
  with_type(dtype, [&](auto type) {
    const DecayAndStep<decltype(type)> step{lr, static_cast<float>(1 - lr * weight_decay), scales};
    for_each_chunk(lists, step, nullptr, stream);
  });
}

}  // namespace arsbench::ars_moments_cuda
