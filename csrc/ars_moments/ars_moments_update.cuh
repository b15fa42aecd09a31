// The element-wise code of the moment updates and of the steps that use them. Formulas are those of
// ars_moments_cpu.cpp.
#pragma once

#include <cmath>

#include "../common/multi_tensor.cuh"
#include "second_moment.h"

namespace arsbench::ars_moments_cuda {

using multi_tensor::kVectorSize;
using multi_tensor::Pack;

// The larger of two numbers, or NaN if either is NaN; fmaxf ignores NaN.
__device__ __forceinline__ float maximum(float x, float y) { return x > y || x != x ? x : y; }

// One element's moment update.
struct Moments {
  float beta1, beta2, rest1, rest2, eps, inverse_correction1, inverse_correction2;
  bool inject;
  SecondMoment second_moment;  // plain if nothing is injected

  // Returns the whitened moment s and writes the injected gradient g' to grad.
  __device__ __forceinline__ float operator()(float& grad, float& exp_avg, float& exp_avg_sq, float flat,
                                              float strength) const {
    float second = grad;
    if (inject) {
      grad += strength * flat;
      if (second_moment == SecondMoment::injected) second = grad;
    }
    exp_avg = beta1 * exp_avg + rest1 * grad;
    exp_avg_sq = beta2 * exp_avg_sq + rest2 * second * second;
    if (second_moment == SecondMoment::bounded) exp_avg_sq = maximum(exp_avg_sq, rest2 * grad * grad);
    return exp_avg * inverse_correction1 / (sqrtf(exp_avg_sq * inverse_correction2) + eps);
  }
};

// The scalar of a tensor in both updates: the strength of its injection.
struct Injection {
  Moments moments;
  const double* strengths;

  __device__ __forceinline__ float scalar(int index) const {
    return moments.inject ? static_cast<float>(strengths[index]) : 0.0f;
  }
};

template <class T>
struct Whiten : Injection {
  static constexpr int kLists = 5, kSums = 2, kSize = kVectorSize<T, float>;

  explicit Whiten(const Injection& injection) : Injection(injection) {}

  template <class Slice>
  __device__ __forceinline__ void operator()(const Slice& slice, void* const (&tensors)[kLists],
                                             float strength, double (&sums)[kSums]) const {
    const auto g = slice.template load<T>(tensors[0]);
    auto m = slice.template load<float>(tensors[1]), v = slice.template load<float>(tensors[2]);
    const auto f = slice.template load<float>(tensors[4]);
    Pack<float, Slice::kElements> direction;
#pragma unroll
    for (int i = 0; i < Slice::kElements; ++i) {
      float grad = g[i];
      direction.values[i] = moments(grad, m.values[i], v.values[i], f.values[i], strength);
      const double s = direction.values[i], consumed = grad;
      if (slice.contains(i)) {
        sums[0] += s * s;
        sums[1] += consumed * consumed;
      }
    }
    slice.store(tensors[1], m);
    slice.store(tensors[2], v);
    slice.store(tensors[3], direction);
  }
};

struct StoreNorms {
  static constexpr int kSums = 2;
  double *energies, *grad_norms;

  __device__ __forceinline__ void operator()(int index, const double (&sums)[kSums]) const {
    energies[index] = sqrt(sums[0]);
    grad_norms[index] = sqrt(sums[1]);
  }
};

template <class T>
struct AdamW : Injection {
  static constexpr int kLists = 5, kSums = 1, kSize = kVectorSize<T, float>;
  float rate, keep;

  AdamW(const Injection& injection, double lr, double weight_decay)
      : Injection(injection), rate(static_cast<float>(lr)), keep(static_cast<float>(1 - lr * weight_decay)) {}

  template <class Slice>
  __device__ __forceinline__ void operator()(const Slice& slice, void* const (&tensors)[kLists],
                                             float strength, double (&sums)[kSums]) const {
    auto p = slice.template load<T>(tensors[0]);
    const auto g = slice.template load<T>(tensors[1]);
    auto m = slice.template load<float>(tensors[2]), v = slice.template load<float>(tensors[3]);
    const auto f = slice.template load<float>(tensors[4]);
#pragma unroll
    for (int i = 0; i < Slice::kElements; ++i) {
      float grad = g[i];
      const float s = moments(grad, m.values[i], v.values[i], f.values[i], strength);
      p.set(i, p[i] * keep - rate * s);
      const double consumed = grad;
      if (slice.contains(i)) sums[0] += consumed * consumed;
    }
    slice.store(tensors[0], p);
    slice.store(tensors[2], m);
    slice.store(tensors[3], v);
  }
};

struct StoreNorm {
  static constexpr int kSums = 1;
  double* norms;

  __device__ __forceinline__ void operator()(int index, const double (&sums)[kSums]) const {
    norms[index] = sqrt(sums[0]);
  }
};

template <class T>
struct DecayAndStep {
  static constexpr int kLists = 2, kSums = 0, kSize = kVectorSize<T, float>;
  double lr;
  float keep;
  const double* scales;

  __device__ __forceinline__ float scalar(int index) const { return static_cast<float>(lr * scales[index]); }

  template <class Slice, class Sums>
  __device__ __forceinline__ void operator()(const Slice& slice, void* const (&tensors)[kLists], float factor,
                                             Sums&) const {
    auto p = slice.template load<T>(tensors[0]);
    const auto direction = slice.template load<float>(tensors[1]);
#pragma unroll
    for (int i = 0; i < Slice::kElements; ++i) p.set(i, p[i] * keep - factor * direction[i]);
    slice.store(tensors[0], p);
  }
};

}  // namespace arsbench::ars_moments_cuda
