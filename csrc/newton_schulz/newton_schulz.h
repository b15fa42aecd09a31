// Newton-Schulz orthogonalisation: what lies between the matrix products, on raw pointers. The mathematics is
// described in arsbench/ops/newton_schulz.py.
#pragma once

#include <cstdint>

#include "../common/bfloat16.h"

namespace arsbench {

// Whether matrices in bfloat16 are multiplied in bfloat16, rather than as float32 matrices of bfloat16
// values.
bool bfloat16_products();

// Σ x², in double.
template <class T>
double square_sum(std::int64_t n, const T* x);

// out ← factor · in, rounded to bfloat16 where Out is float: the float32 stand-in for a bfloat16 matrix.
template <class In, class Out>
void scale_and_round(std::int64_t n, const In* in, Out* out, double factor);

// Rounds to bfloat16 in place; nothing to do for double, which iterates unrounded, and for BFloat16.
template <class T>
void round_values(std::int64_t n, T* x);

// Rounds rows first … last-1 of the lower triangle of a square matrix (row-major, `size` wide) and copies
// them to the upper one.
template <class T>
void round_and_mirror(std::int64_t size, std::int64_t first, std::int64_t last, T* matrix);

}  // namespace arsbench
