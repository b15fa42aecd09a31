// Include this in kernels that use no PTX; kernels that use PTX include ptx.h. nvcc compiles against CUDA.
// Any other compiler takes simt_host.h, which runs kernels on the host, from the include path (docs/simt.md).
#pragma once

#include <stdexcept>

namespace simt {

// What simt::launch throws, under nvcc and on the host.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace simt

#if defined(__CUDACC__)
#include "cuda_launch.h"
#else
#include "simt_host.h"
#endif
