// Whether this machine multiplies bfloat16 matrices as bfloat16.
#pragma once

namespace arsbench {

// If not, kernels multiply float32 copies of the bfloat16 values and round the result. Without bfloat16
// dot-product instructions, ATen's bfloat16 matrix product runs at a quarter of float32's speed (measured: 50
// against 200 GFLOP/s on two cores with AVX-512), and the float32 product of bfloat16 values is at least as
// accurate. Arm machines also use float32: bfloat16 has not been measured there. ARSBENCH_BF16_PRODUCTS=0 or
// 1 in the environment overrides the choice.
bool bfloat16_products();

}  // namespace arsbench
