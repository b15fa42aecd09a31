// The element-wise parts of the ARS optimizers on raw pointers. arsbench/ops/ars_moments.py describes the
// mathematics. Every function handles n consecutive elements of one tensor.
//
// T is the type of parameters and gradients (float, BFloat16, double), Compute<T> the type of moments,
// flatness vectors and directions. Sums are in double.
#pragma once

#include <cstdint>

#include "../common/bfloat16.h"
#include "second_moment.h"

namespace arsbench {

// n̂ = grad · eps/(√(exp_avg_sq · inverse_correction) + eps), times |param| if adaptive. This is eps times
// the ascent direction of sharpness-aware minimisation; unlike the direction itself it cannot overflow.
struct AscentParameters {
  double inverse_correction;
  double eps;
  bool adaptive;
};

// Σ n̂².
template <class T>
double ascent_square_sum(std::int64_t n, const T* param, const T* grad, const Compute<T>* exp_avg_sq,
                         AscentParameters parameters);

// backup ← param, then param ← param + factor · n̂.
template <class T>
void ascend(std::int64_t n, T* param, T* backup, const T* grad, const Compute<T>* exp_avg_sq, double factor,
            AscentParameters parameters);

struct Dots {
  double xx, yy, xy;
};

// Σ x², Σ y² and Σ xy.
template <class T, class U>
Dots dots(std::int64_t n, const T* x, const U* y);

// out ← x − factor · y.
template <class T>
void subtract_scaled(std::int64_t n, Compute<T>* out, const T* x, const T* y, double factor);

struct MomentParameters {
  double beta1, beta2, eps;
  double inverse_correction1, inverse_correction2;  // 1/(1 − βᵗ)
  SecondMoment second_moment;
};

struct MomentSums {
  double whitened;  // Σ s²
  double injected;  // Σ g'²
};

// Updates both moments and writes the whitened direction s. If flat is null, nothing is injected and
// second_moment has no effect.
template <class T>
MomentSums whiten(std::int64_t n, const T* grad, Compute<T>* exp_avg, Compute<T>* exp_avg_sq,
                  const Compute<T>* flat, double strength, Compute<T>* direction,
                  MomentParameters parameters);

// Updates both moments and takes the AdamW step param ← param · decay − lr · s. Returns Σ g'².
template <class T>
double adamw(std::int64_t n, T* param, const T* grad, Compute<T>* exp_avg, Compute<T>* exp_avg_sq,
             const Compute<T>* flat, double strength, double lr, double decay, MomentParameters parameters);

// param ← param · decay − factor · direction.
template <class T>
void decay_and_step(std::int64_t n, T* param, const Compute<T>* direction, double factor, double decay);

}  // namespace arsbench
