// The element-wise code of the perturbation, its restoration, the inner products and the flatness vectors.
// Formulas and constants are those of ars_moments_cpu.cpp. Sums of float32 products are in double, as on the
// CPU, so that squares neither overflow nor underflow.
#pragma once

#include <cmath>

#include "../common/multi_tensor.cuh"

namespace arsbench::ars_moments_cuda {

using multi_tensor::kVectorSize;
using multi_tensor::NoScalar;
using multi_tensor::Pack;

// arsbench/ops/reference/ars_moments.py explains the two constants.
constexpr double kNormEps = 1e-12;
constexpr double kSmallestEps = 1e-20;

// ε·n; unlike the direction n itself it cannot overflow.
struct Ascent {
  float inverse_correction, eps;
  bool adaptive;

  __device__ __forceinline__ float operator()(float param, float grad, float second) const {
    const float n = grad * (eps / (sqrtf(second * inverse_correction) + eps));
    return adaptive ? n * fabsf(param) : n;
  }
};

template <class T>
struct AscentSquareSum : NoScalar {
  static constexpr int kLists = 4, kSums = 1, kSize = kVectorSize<T, float>;
  Ascent ascent;

  explicit AscentSquareSum(const Ascent& ascent) : ascent(ascent) {}

  template <class Slice>
  __device__ __forceinline__ void operator()(const Slice& slice, void* const (&tensors)[kLists], float,
                                             double (&sums)[kSums]) const {
    const auto p = slice.template load<T>(ascent.adaptive ? tensors[0] : nullptr);
    const auto g = slice.template load<T>(tensors[1]);
    const auto v = slice.template load<float>(tensors[2]);
#pragma unroll
    for (int i = 0; i < Slice::kElements; ++i) {
      const double n = ascent(p[i], g[i], v[i]);
      if (slice.contains(i)) sums[0] += n * n;
    }
  }
};

// The ascent's factor ρ/‖n‖. The norms are ε times those of the true direction, so the constant is times ε
// too.
struct AscentFactor {
  static constexpr int kSums = 1;
  double rho, smallest_norm;
  double* factors;

  __device__ __forceinline__ void operator()(int index, const double (&sums)[kSums]) const {
    factors[index] = rho / (sqrt(sums[0]) + smallest_norm);
  }
};

template <class T>
struct Ascend {
  static constexpr int kLists = 4, kSums = 0, kSize = kVectorSize<T, float>;
  Ascent ascent;
  const double* factors;

  __device__ __forceinline__ float scalar(int index) const { return static_cast<float>(factors[index]); }

  template <class Slice, class Sums>
  __device__ __forceinline__ void operator()(const Slice& slice, void* const (&tensors)[kLists], float factor,
                                             Sums&) const {
    auto p = slice.template load<T>(tensors[0]);
    const auto g = slice.template load<T>(tensors[1]);
    const auto v = slice.template load<float>(tensors[2]);
    slice.store(tensors[3], p);
#pragma unroll
    for (int i = 0; i < Slice::kElements; ++i) p.set(i, p[i] + factor * ascent(p[i], g[i], v[i]));
    slice.store(tensors[0], p);
  }
};

template <class T>
struct Restore : NoScalar {
  static constexpr int kLists = 2, kSums = 0, kSize = kVectorSize<T>;

  template <class Slice, class Sums>
  __device__ __forceinline__ void operator()(const Slice& slice, void* const (&tensors)[kLists], float,
                                             Sums&) const {
    slice.store(tensors[0], slice.template load<T>(tensors[1]));
  }
};

// Σx², Σy² and Σxy.
template <class T, class U>
struct Dots : NoScalar {
  static constexpr int kLists = 2, kSums = 3, kSize = kVectorSize<T, U>;

  template <class Slice>
  __device__ __forceinline__ void operator()(const Slice& slice, void* const (&tensors)[kLists], float,
                                             double (&sums)[kSums]) const {
    const auto x = slice.template load<T>(tensors[0]);
    const auto y = slice.template load<U>(tensors[1]);
#pragma unroll
    for (int i = 0; i < Slice::kElements; ++i) {
      const double a = x[i], b = y[i];
      sums[0] += a * a;
      sums[1] += b * b;
      sums[2] += a * b;
    }
  }
};

struct StoreRow {
  static constexpr int kSums = 3;
  double* rows;

  __device__ __forceinline__ void operator()(int index, const double (&sums)[kSums]) const {
#pragma unroll
    for (int k = 0; k < kSums; ++k) rows[static_cast<int64_t>(index) * kSums + k] = sums[k];
  }
};

// Σy² and Σxy.
template <class T>
struct ProjectionSums : NoScalar {
  static constexpr int kLists = 3, kSums = 2, kSize = kVectorSize<T>;

  template <class Slice>
  __device__ __forceinline__ void operator()(const Slice& slice, void* const (&tensors)[kLists], float,
                                             double (&sums)[kSums]) const {
    const auto x = slice.template load<T>(tensors[0]);
    const auto y = slice.template load<T>(tensors[1]);
#pragma unroll
    for (int i = 0; i < Slice::kElements; ++i) {
      const double a = x[i], b = y[i];
      sums[0] += b * b;
      sums[1] += a * b;
    }
  }
};

struct ProjectionFactor {
  static constexpr int kSums = 2;
  double* factors;

  __device__ __forceinline__ void operator()(int index, const double (&sums)[kSums]) const {
    factors[index] = sums[1] / (sums[0] + kNormEps);
  }
};

template <class T>
struct SubtractProjection {
  static constexpr int kLists = 3, kSums = 0, kSize = kVectorSize<T, float>;
  const double* factors;

  __device__ __forceinline__ float scalar(int index) const { return static_cast<float>(factors[index]); }

  template <class Slice, class Sums>
  __device__ __forceinline__ void operator()(const Slice& slice, void* const (&tensors)[kLists], float factor,
                                             Sums&) const {
    const auto x = slice.template load<T>(tensors[0]);
    const auto y = slice.template load<T>(tensors[1]);
    Pack<float, Slice::kElements> out;
#pragma unroll
    for (int i = 0; i < Slice::kElements; ++i) out.set(i, x[i] - factor * y[i]);
    slice.store(tensors[2], out);
  }
};

}  // namespace arsbench::ars_moments_cuda
