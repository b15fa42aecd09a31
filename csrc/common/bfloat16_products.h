// Whether bfloat16 matrices are multiplied as such on this machine.
#pragma once

namespace arsbench {

// If not, kernels multiply float32 copies of the bfloat16 values and round the result. Without bfloat16 dot
// products ATen's bfloat16 matrix product runs at a quarter of float32's speed (measured: 50 against 200
// GFLOP/s on two cores with AVX-512), and the float32 product of bfloat16 values is at least as exact. Arm
// machines take float32 as well until somebody has measured one.
// ARSBENCH_BF16_PRODUCTS=0 or 1 in the environment overrides the choice.
bool bfloat16_products();

}  // namespace arsbench
