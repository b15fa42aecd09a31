// C entry points of linear_cross_entropy's kernels.
#include "api.h"
#include "linear_cross_entropy/linear_cross_entropy_kernel.cuh"

namespace {

using namespace arsbench::linear_cross_entropy_cuda;

template <class T>
void run(void* logits, void* target, void* loss, void* entropy, void* factor, int64_t count, int64_t stride,
         int64_t vocabulary, int64_t ignore_index, int64_t gradient, int64_t shared_bytes) {
  const Rows<T> rows{static_cast<T*>(logits),
                     static_cast<const int64_t*>(target),
                     static_cast<float*>(loss),
                     static_cast<float*>(entropy),
                     static_cast<const float*>(factor),
                     stride,
                     ignore_index,
                     static_cast<int>(vocabulary),
                     gradient != 0};
  launch_softmax_rows(rows, static_cast<int>(count), static_cast<size_t>(shared_bytes), nullptr);
}

}  // namespace

SIMT_API const char* softmax_rows(int64_t bfloat16, void* logits, void* target, void* loss, void* entropy,
                                  void* factor, int64_t count, int64_t stride, int64_t vocabulary,
                                  int64_t ignore_index, int64_t gradient, int64_t shared_bytes) {
  return reported([&] {
    (bfloat16 ? run<bf16> : run<float>)(logits, target, loss, entropy, factor, count, stride, vocabulary,
                                        ignore_index, gradient, shared_bytes);
  });
}

SIMT_API const char* count_kept(void* target, int64_t tokens, int64_t ignore_index, void* kept,
                                void* factor) {
  return reported([&] {
    launch_count_kept(static_cast<const int64_t*>(target), static_cast<int>(tokens), ignore_index,
                      static_cast<float*>(kept), static_cast<float*>(factor), nullptr);
  });
}
