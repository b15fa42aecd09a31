// The headers of the host emulator: any C++ compiler runs CUDA kernels, every CUDA thread as a fiber. See
// docs/simt.md.
#pragma once

#include "atomics.h"
#include "bfloat16.h"
#include "host_math.h"
#include "host_types.h"
#include "launch.h"
#include "warp.h"

namespace simt {

// The key distinguishes declarations, also in different instantiations of a template, like __shared__.
SIMT_NO_TSAN inline void* shared_array(const void* key, size_t bytes, const char* name, const char* file,
                                       int line) {
  void* array = current->block->shared.declared(key, name, bytes);
  if (array == nullptr) fail("more shared memory than a block may have", {name, file, line});
  return array;
}

}  // namespace simt

#define SIMT_TEXT_OF(x) #x
#define SIMT_TEXT(x) SIMT_TEXT_OF(x)
// A pointer, where nvcc has an array: do not use sizeof.
#define SIMT_SHARED(T, name, n)                                                                       \
  static char simt_key_of_##name;                                                                     \
  T* const name = static_cast<T*>(::simt::shared_array(&simt_key_of_##name, sizeof(T) * (n),          \
                                                       #name " at " __FILE__ ":" SIMT_TEXT(__LINE__), \
                                                       __FILE__, __LINE__))
#define SIMT_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::simt::current->block->shared.dynamic())

#define threadIdx (::simt::current->index)
#define blockIdx (::simt::current->block->index)
#define blockDim (::simt::current->block->size)
#define gridDim (::simt::current->block->grid)
