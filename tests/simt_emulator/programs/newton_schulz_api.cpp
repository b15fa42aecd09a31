// C entry points of newton_schulz's kernels.
#include <vector>

#include "api.h"
#include "newton_schulz/newton_schulz_kernel.cuh"

namespace {

using namespace arsbench::newton_schulz_cuda;

// Aligned to 256 bytes, as on a device. Filled with NaN, which shows reads before the first write.
struct Memory {
  std::vector<double> storage;
  void* aligned;

  explicit Memory(size_t bytes) : storage(bytes / sizeof(double) + 32, NAN) {
    aligned = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(storage.data()) + 255) & ~uintptr_t{255});
  }
};

template <class T>
void run(const void* x, void* out, const Shape& shape, int64_t steps, const float (&coefficients)[3],
         Form form, int64_t processors) {
  const Memory memory(workspace_bytes(shape));
  launch_newton_schulz(static_cast<const T*>(x), static_cast<T*>(out), memory.aligned, shape, steps,
                       coefficients, form, static_cast<int>(processors), nullptr);
}

}  // namespace

// form: 0 direct, 1 Gram.
SIMT_API const char* newton_schulz(int64_t bfloat16, void* x, void* out, int64_t batch, int64_t rows,
                                   int64_t columns, int64_t steps, double a, double b, double c, int64_t form,
                                   int64_t processors) {
  return reported([&] {
    const Shape shape{static_cast<int>(batch), static_cast<int>(rows), static_cast<int>(columns)};
    const float coefficients[3] = {static_cast<float>(a), static_cast<float>(b), static_cast<float>(c)};
    (bfloat16 ? run<__nv_bfloat16> : run<float>)(x, out, shape, steps, coefficients, static_cast<Form>(form),
                                                 processors);
  });
}

// form: one int64, the result.
SIMT_API const char* choose_form(int64_t rows, int64_t columns, int64_t steps, void* form) {
  *static_cast<int64_t*>(form) =
      static_cast<int64_t>(arsbench::newton_schulz_cuda::choose_form(rows, columns, steps));
  return nullptr;
}
