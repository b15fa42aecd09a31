// The gated activation of a SwiGLU layer on raw pointers. arsbench/ops/swiglu_linear.py describes the
// mathematics.
#pragma once

#include <cstdint>

#include "../common/bfloat16.h"

namespace arsbench {

// out ← silu(gate)·up.
template <class T>
void swiglu(std::int64_t n, const T* gate, const T* up, T* out);

// The gradients of gate and up from the gradient of swiglu's result.
template <class T, class G>
void swiglu_backward(std::int64_t n, const G* grad, const T* gate, const T* up, T* grad_gate, T* grad_up);

}  // namespace arsbench
