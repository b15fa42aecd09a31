// Matrix products of tensors in any float dtype: the one place that all kernels multiply in.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

namespace arsbench {

// What serves a product: the panels of this package (panels.h), ATen's mm, which calls MKL on x86, or
// oneDNN's inner product. The rule depends on the processor and the dtype alone, so that a resumed run
// repeats the bits of an uninterrupted one:
//
// - float64: mkl.
// - float32: panels on AMD processors with AVX-512, where MKL reaches 99 to 205 of 231 GFLOP/s; else mkl. On
//   Intel, panels reach 0.82 to 1.05 of MKL's rate.
// - bfloat16: panels with AMX, at 0.8 to 1.8 times ATen's rate, and on AMD processors with AVX-512 BF16; else
//   mkl, in float32 without bfloat16_products(). On Intel, dot products of pairs are slower than float32.
//
// ARSBENCH_PRODUCTS=panels, mkl or onednn in the environment selects one for float32 and bfloat16.
enum class Library { panels, mkl, onednn };
Library library_for(at::ScalarType dtype);
const char* name_of(Library library);

// Whether bfloat16 matrices are multiplied as such, and not as float32 copies that are rounded afterwards.
// Without instructions for it, ATen's bfloat16 product runs at a quarter of float32's speed (measured: 50
// against 200 GFLOP/s on two cores with AVX-512), and the float32 product of bfloat16 values is at least as
// accurate. Arm machines also use float32: bfloat16 has not been measured there. ARSBENCH_BF16_PRODUCTS=0 or
// 1 in the environment overrides the choice.
bool bfloat16_products();

// Executes multiply-adds in registers, on all threads, with the instructions that panels of `dtype` (float32
// or bfloat16) are multiplied with; returns the number of flops. For benchmarks.
double multiply_adds(at::ScalarType dtype, int64_t rounds);

struct Scaling {
  double product = 1, addend = 0;
};

// out ← scaling.product·a·b + scaling.addend·addend, where `addend` has out's shape, dtype and strides and
// may be `out`. a and b are of one dtype; out may be float32 where they are bfloat16. Bypasses autocast.
void multiply(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b, Scaling scaling = {},
              const at::Tensor& addend = {});

// The same for a contiguous square out that is symmetric: above the diagonal, `out` is unspecified.
void multiply_lower(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b, Scaling scaling = {},
                    const at::Tensor& addend = {});

// x rounded to `dtype`, in the dtype that such matrices are multiplied in: float32 in place of bfloat16
// without bfloat16_products(), and always in place of float16.
inline at::Tensor operand(const at::Tensor& x, at::ScalarType dtype) {
  const bool widened = dtype == at::kHalf || (dtype == at::kBFloat16 && !bfloat16_products());
  const at::Tensor rounded = x.to(dtype);
  return widened ? rounded.to(at::kFloat) : rounded;
}

// a·b.
inline at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  at::Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  multiply(out, a, b);
  return out;
}

}  // namespace arsbench
