// The resources of each launch, for tables of kernels: SIMT_PRINT_LAUNCHES=1 in the environment prints one
// line per launch.
#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <cstdio>

#include "config.h"
#include "host_types.h"

namespace simt {

// "launch NAME THREADS BYTES": the kernel's mangled name, identical to nvcc's, if the program exports it
// (-rdynamic); the threads of a block; its dynamic shared memory.
inline void print_launch(const void* kernel, const dim3& block, size_t shared_bytes) {
  static const bool wanted = from_environment("SIMT_PRINT_LAUNCHES", 0) != 0;
  Dl_info info{};
  if (wanted && dladdr(kernel, &info) != 0 && info.dli_sname != nullptr)
    std::fprintf(stderr, "launch %s %u %zu\n", info.dli_sname, block.x * block.y * block.z, shared_bytes);
}

}  // namespace simt
