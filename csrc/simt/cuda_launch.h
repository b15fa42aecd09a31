// Shared memory and launches under nvcc, in a notation that the host understands too. simt.h includes this.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <string>
#include <type_traits>

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
  // Clear the runtime's error, which the next caller of cudaGetLastError would take for its own.
  cudaGetLastError();
  throw Error("launch of a kernel on grid " + extent(grid) + ", block " + extent(block) + ", " +
              std::to_string(shared_bytes) +
              " bytes of dynamic shared memory: " + cudaGetErrorString(status));
}

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...). Throws Error if the launch fails.
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
