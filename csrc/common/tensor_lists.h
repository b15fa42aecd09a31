// Lists of tensors as raw memory, cut into chunks that are distributed evenly over threads.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <vector>

#include "dispatch.h"

namespace arsbench {

// The tensors of a list, each replaced by a contiguous copy if it is not contiguous.
class ContiguousList {
 public:
  explicit ContiguousList(at::TensorList tensors) {
    const at::AutoDispatchBelowADInplaceOrView no_gradients;
    for (const at::Tensor& tensor : tensors) {
      tensors_.push_back(tensor.contiguous());
      addresses_.push_back(tensors_.back().data_ptr());
    }
  }

  size_t size() const { return tensors_.size(); }
  int64_t numel(size_t i) const { return tensors_[i].numel(); }
  at::ScalarType dtype(size_t i) const { return tensors_[i].scalar_type(); }

  // Element `begin` of tensor i; null if the list is empty, which stands for an omitted list.
  template <class T>
  T* at(size_t i, int64_t begin) const {
    return addresses_.empty() ? nullptr : static_cast<T*>(addresses_[i]) + begin;
  }

  // Copies the kernel's results back into the tensors that the list was made from.
  void write_back(at::TensorList originals) const {
    const at::AutoDispatchBelowADInplaceOrView no_gradients;
    for (size_t i = 0; i < originals.size(); ++i)
      if (!tensors_[i].is_same(originals[i])) originals[i].copy_(tensors_[i]);
  }

 private:
  std::vector<at::Tensor> tensors_;
  std::vector<void*> addresses_;
};

struct Chunk {
  size_t tensor;
  int64_t begin, size;
};

// The chunks depend only on the tensors. Values that are summed per chunk and then added in the order of the
// chunks are therefore the same for any number of threads.
inline std::vector<Chunk> chunks_of(const ContiguousList& tensors) {
  // Elements. Five float32 streams of this length fit into a core's L2 cache.
  constexpr int64_t kChunk = 16384;
  std::vector<Chunk> chunks;
  for (size_t i = 0; i < tensors.size(); ++i)
    for (int64_t begin = 0; begin < tensors.numel(i); begin += kChunk)
      chunks.push_back({i, begin, std::min(kChunk, tensors.numel(i) - begin)});
  return chunks;
}

// Calls visit(type, chunk, position) for every chunk, in parallel. `type` is a value of the element type of
// the chunk's tensor in `typed`: float, double or BFloat16.
template <class Visit>
void for_each_chunk(const std::vector<Chunk>& chunks, const ContiguousList& typed, const Visit& visit) {
  at::parallel_for(0, static_cast<int64_t>(chunks.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t position = begin; position < end; ++position) {
      const Chunk& chunk = chunks[position];
      with_type(typed.dtype(chunk.tensor), [&](auto type) { visit(type, chunk, position); });
    }
  });
}

// Adds `per_chunk`, one value per chunk, for each of n tensors.
inline std::vector<double> sums_per_tensor(const std::vector<Chunk>& chunks,
                                           const std::vector<double>& per_chunk, size_t n) {
  std::vector<double> sums(n, 0.0);
  for (size_t position = 0; position < chunks.size(); ++position)
    sums[chunks[position].tensor] += per_chunk[position];
  return sums;
}

}  // namespace arsbench
