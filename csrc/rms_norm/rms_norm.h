// RMSNorm of consecutive rows on raw pointers. arsbench/ops/rms_norm.py describes the mathematics.
#pragma once

#include <cstdint>

#include "../common/bfloat16.h"

namespace arsbench {

// out (rows, E) ← x/rms(x)·weight.
template <class T>
void normalize_rows(std::int64_t rows, std::int64_t size, const T* x, const Compute<T>* weight,
                    Compute<T> eps, T* out);

// The gradient of x; the weight's gradient is added to grad_weight (E).
template <class T>
void normalize_rows_backward(std::int64_t rows, std::int64_t size, const T* grad, const T* x,
                             const Compute<T>* weight, Compute<T> eps, T* grad_x, Compute<T>* grad_weight);

}  // namespace arsbench
