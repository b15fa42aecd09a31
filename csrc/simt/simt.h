// The one include of kernels that need no tensor cores (ptx.h is for those that do). nvcc gets CUDA itself,
// any other compiler the execution on the host that docs/simt.md describes.
#pragma once

#if defined(__CUDACC__)
#include "cuda_launch.h"
#else
#include "simt_host.h"
#endif
