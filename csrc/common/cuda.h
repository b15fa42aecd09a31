// Helpers shared by the launchers of CUDA kernels.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <utility>

#include "fallbacks.h"

namespace arsbench {

// The kernels need compute capability 8.0: bf16 tensor cores and asynchronous copies.
inline bool is_ampere_or_later(const at::Tensor& on) {
  return at::cuda::getDeviceProperties(on.get_device())->major >= 8;
}

// Runs an op's reference where its kernel cannot, and warns once per op and reason. Signature: the signature
// of the op's kernel.
template <class Signature, class... Arguments>
auto call_reference(const char* op, const char* why, Arguments&&... arguments) {
  if (Fallbacks::instance().add(op, why))
    TORCH_WARN("arsbench::", op, " has no CUDA kernel for ", why, ": the reference runs instead");
  const auto handle = c10::Dispatcher::singleton().findSchemaOrThrow(
      ("arsbench::" + std::string(op) + "_reference").c_str(), "");
  return handle.typed<Signature>().call(std::forward<Arguments>(arguments)...);
}

}  // namespace arsbench
