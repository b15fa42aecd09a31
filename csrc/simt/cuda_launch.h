// nvcc's side: shared memory and launches, spelled so that the host can run them too.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <string>
#include <type_traits>

#include "error.h"

#define SIMT_SHARED(T, name, n) __shared__ __align__(128) T name[n]
#define SIMT_DYNAMIC_SHARED(T, name)                                    \
  extern __shared__ __align__(128) unsigned char simt_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(simt_dynamic_shared)

namespace simt {

inline std::string extent(const dim3& of) {
  return "(" + std::to_string(of.x) + "," + std::to_string(of.y) + "," + std::to_string(of.z) + ")";
}

inline void require_success(cudaError_t status, dim3 grid, dim3 block, size_t shared_bytes) {
  if (status == cudaSuccess) return;
  // The runtime also keeps the error for whoever asks next, who would take it for their own.
  cudaGetLastError();
  throw Error("launch of a kernel on grid " + extent(grid) + ", block " + extent(block) + ", " +
              std::to_string(shared_bytes) +
              " bytes of dynamic shared memory: " + cudaGetErrorString(status));
}

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...), except that a launch which fails throws.
template <class... Parameters>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            std::type_identity_t<Parameters>... arguments) {
  constexpr size_t kWithoutAsking = 48 * 1024;
  if (shared_bytes > kWithoutAsking) {
    require_success(
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
        grid, block, shared_bytes);
  }
  void* addresses[sizeof...(Parameters) + 1] = {static_cast<void*>(&arguments)...};
  require_success(
      cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, addresses, shared_bytes, stream),
      grid, block, shared_bytes);
}

}  // namespace simt
