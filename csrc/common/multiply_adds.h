// The processor's limit for matrix products: multiply-adds in registers, without memory. For benchmarks.
#pragma once

#include <cstdint>

#include "panels.h"

namespace arsbench {

// Executes `rounds` rounds of independent multiply-adds on the calling thread: of float32 vectors for
// `widened`, of the other kernels' instructions for those. Returns the number of flops.
double multiply_adds(Bfloat16Kernel kernel, std::int64_t rounds);

}  // namespace arsbench
