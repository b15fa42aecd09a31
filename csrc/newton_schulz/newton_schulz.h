// Newton-Schulz orthogonalisation: the operations between the matrix products, on raw pointers.
// arsbench/ops/newton_schulz.py describes the mathematics.
#pragma once

#include <cstdint>

#include "../common/bfloat16.h"

namespace arsbench {

// The flops of the two forms of the iteration (newton_schulz_cpu.cpp) for sides n ≤ m, with symmetric
// products at half price: steps·(3n²m + n³) directly, 3n²m + (4·steps − 3)n³ on the Gram matrix. The second
// is smaller if m > n and there is more than one step. It needs float32 iterates: a Gram matrix holds the
// squares of the singular values, and in bfloat16 all below a sixteenth of the largest would be lost.
constexpr bool gram_form_pays(std::int64_t rows, std::int64_t columns, std::int64_t steps, bool float32) {
  return float32 && rows != columns && steps > 1;
}

// Σ x², in double.
template <class T>
double square_sum(std::int64_t n, const T* x);

// out ← factor · in.
template <class In, class Out>
void scale(std::int64_t n, const In* in, Out* out, double factor);

// Copies rows first … last-1 of the lower triangle of a square matrix (row-major, `size` wide) to the upper
// triangle, and adds `diagonal` to their diagonal elements.
template <class T>
void mirror(std::int64_t size, std::int64_t first, std::int64_t last, T* matrix, double diagonal);

}  // namespace arsbench
