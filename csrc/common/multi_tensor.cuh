// Kernels over lists of tensors: which block works on which part of which tensor, how a thread reads its
// elements, and sums per tensor whose order of additions depends only on the tensors' sizes.
//
// A list is cut into chunks of kChunk elements, one block each. The kernel's parameters contain the tensors'
// addresses and sizes, so that a launch needs no copy to the device and can be captured in a graph. The
// parameters are limited to 4 KiB, which every driver supports, although newer ones support 32764 bytes: a
// launch copies its parameters whole, and the many short lists of an optimizer would pay for space that only
// long lists use. Tensors that do not fit (beyond 70, with five lists) go into further launches; so many
// tensors are enough work for one launch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "../simt/simt.h"

namespace arsbench::multi_tensor {

constexpr int kThreads = 256;
// Elements. Eight iterations of a block over float32: long enough that finding the tensor and adding the
// threads' sums cost little, short enough that two million elements occupy every multiprocessor of a large
// GPU.
constexpr int kChunk = 8192;
constexpr int kParameterBytes = 4096;
// The part of kParameterBytes that is left for a kernel's other parameters.
constexpr int kOtherBytes = 128;

// Raw tensors: member i of each of kLists lists has numels[i] elements and uses row indices[i] of the scalars
// per tensor. The address of an omitted list is null.
template <int kLists>
struct Lists {
  size_t size;
  const int64_t* numels;
  const int32_t* indices;
  void* const* addresses[kLists];
};

inline int64_t chunks_in(int64_t numel) { return (numel + kChunk - 1) / kChunk; }

inline int64_t chunks_in(size_t size, const int64_t* numels) {
  int64_t chunks = 0;
  for (size_t i = 0; i < size; ++i) chunks += chunks_in(numels[i]);
  return chunks;
}

// The tensors of one launch. chunk_ends[i] is the number of chunks up to the end of tensor i; it would
// overflow only beyond many terabytes.
template <int kLists>
struct TensorTable {
  static constexpr int kTensorBytes = (kLists + 1) * 8 + 2 * 4;
  static constexpr int kCapacity = (kParameterBytes - kOtherBytes - 8) / kTensorBytes;
  void* addresses[kLists][kCapacity];
  int64_t numels[kCapacity];
  int32_t chunk_ends[kCapacity];
  int32_t indices[kCapacity];
  int32_t size;

  int32_t chunks() const { return chunk_ends[size - 1]; }
};

// Calls visit(table, first_chunk) for as many tables as the lists need; first_chunk counts the chunks of all
// previous tables.
template <int kLists, class Visit>
void for_each_table(const Lists<kLists>& lists, const Visit& visit) {
  using Table = TensorTable<kLists>;
  int64_t first_chunk = 0;
  for (size_t begin = 0; begin < lists.size; begin += Table::kCapacity) {
    Table table{};
    int64_t chunks = 0;
    const size_t left = lists.size - begin;
    table.size = static_cast<int32_t>(left < Table::kCapacity ? left : Table::kCapacity);
    for (int32_t i = 0; i < table.size; ++i) {
      for (int list = 0; list < kLists; ++list)
        table.addresses[list][i] =
            lists.addresses[list] == nullptr ? nullptr : lists.addresses[list][begin + i];
      table.numels[i] = lists.numels[begin + i];
      table.indices[i] = lists.indices[begin + i];
      chunks += chunks_in(table.numels[i]);
      table.chunk_ends[i] = static_cast<int32_t>(chunks);
    }
    visit(table, first_chunk);
    first_chunk += chunks;
  }
}

// The tensor that a chunk belongs to: the first one that ends after it, which skips empty tensors.
template <int kLists>
__device__ __forceinline__ int tensor_of(const TensorTable<kLists>& table, int chunk) {
  int low = 0, high = table.size - 1;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (table.chunk_ends[middle] > chunk)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T>
__device__ __forceinline__ T from_float(float x) {
  if constexpr (sizeof(T) == sizeof(float))
    return x;
  else
    return __float2bfloat16_rn(x);
}

// The number of elements in 16 bytes of the widest type of an operation: tensors of that type are read in the
// longest vectors, others in shorter ones, and the elements of neighbouring lanes are adjacent.
template <class T, class U = T>
constexpr int kVectorSize = 16 / (sizeof(T) > sizeof(U) ? sizeof(T) : sizeof(U));

// Consecutive elements of one tensor in registers.
template <class T, int kSize>
struct alignas(kSize * sizeof(T) < 16 ? kSize * sizeof(T) : 16) Pack {
  T values[kSize];

  __device__ __forceinline__ float operator[](int i) const { return to_float(values[i]); }
  __device__ __forceinline__ void set(int i, float value) { values[i] = from_float<T>(value); }
};

// The elements that a thread handles at a time: kSize of every tensor, starting at `begin`. kWhole: all of
// them exist and every tensor is aligned to vectors. Otherwise `count` of them exist and are read one by one;
// the thread has the same elements in both cases, so that sums do not depend on alignment.
template <int kSize, bool kWhole>
struct Slice {
  static constexpr int kElements = kSize;
  template <class T>
  using Vector = std::conditional_t<kSize * sizeof(T) % sizeof(uint4) == 0, uint4, uint2>;
  int64_t begin;
  int count;

  __device__ __forceinline__ bool contains(int i) const { return kWhole || i < count; }

  // Elements that do not exist, and those of a null tensor, are zero.
  template <class T>
  __device__ __forceinline__ Pack<T, kSize> load(const void* tensor) const {
    Pack<T, kSize> pack{};
    if (tensor == nullptr) return pack;
    const T* from = static_cast<const T*>(tensor) + begin;
    if constexpr (kWhole) {
#pragma unroll
      for (int i = 0; i < static_cast<int>(sizeof(pack) / sizeof(Vector<T>)); ++i)
        reinterpret_cast<Vector<T>*>(pack.values)[i] = reinterpret_cast<const Vector<T>*>(from)[i];
    } else {
#pragma unroll
      for (int i = 0; i < kSize; ++i)
        if (i < count) pack.values[i] = from[i];
    }
    return pack;
  }

  template <class T>
  __device__ __forceinline__ void store(void* tensor, const Pack<T, kSize>& pack) const {
    T* to = static_cast<T*>(tensor) + begin;
    if constexpr (kWhole) {
#pragma unroll
      for (int i = 0; i < static_cast<int>(sizeof(pack) / sizeof(Vector<T>)); ++i)
        reinterpret_cast<Vector<T>*>(to)[i] = reinterpret_cast<const Vector<T>*>(pack.values)[i];
    } else {
#pragma unroll
      for (int i = 0; i < kSize; ++i)
        if (i < count) to[i] = pack.values[i];
    }
  }
};

// Adds the threads' sums; the first thread gets the totals. Call it once per kernel: a second call could
// overwrite values that the first one still reads.
template <int kSums>
__device__ __forceinline__ void add_up_block(double (&sums)[kSums]) {
  constexpr int kWarps = kThreads / 32;
  SIMT_SHARED(double, per_warp, kWarps* kSums);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
#pragma unroll
  for (int k = 0; k < kSums; ++k) {
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1)
      sums[k] += __shfl_xor_sync(0xffffffffu, sums[k], distance);
    if (lane == 0) per_warp[warp * kSums + k] = sums[k];
  }
  __syncthreads();
  if (threadIdx.x == 0) {
#pragma unroll
    for (int k = 0; k < kSums; ++k) {
      sums[k] = 0;
      for (int i = 0; i < kWarps; ++i) sums[k] += per_warp[i * kSums + k];
    }
  }
}

// A base for operations without a scalar per tensor.
struct NoScalar {
  __device__ __forceinline__ float scalar(int) const { return 0; }
};

// A block's work on one chunk. Operation has kLists, kSums, kSize (the elements that a thread handles at a
// time), scalar(index) (its scalar of tensor `index`), and operator()(slice, tensors, scalar, sums), which
// adds to the thread's sums. The sums of a chunk are written to `partials`.
template <class Operation>
__global__ void __launch_bounds__(kThreads)
    run_chunks(const TensorTable<Operation::kLists> table, const Operation operation, double* partials) {
  constexpr int kLists = Operation::kLists, kSums = Operation::kSums, kSize = Operation::kSize;
  const int chunk = static_cast<int>(blockIdx.x);
  const int tensor = tensor_of(table, chunk);
  const int64_t first =
      static_cast<int64_t>(chunk - (tensor == 0 ? 0 : table.chunk_ends[tensor - 1])) * kChunk;
  const int64_t left = table.numels[tensor] - first;
  const int size = left < kChunk ? static_cast<int>(left) : kChunk;

  void* tensors[kLists];
  uintptr_t address_bits = 0;
#pragma unroll
  for (int list = 0; list < kLists; ++list) {
    tensors[list] = table.addresses[list][tensor];
    address_bits |= reinterpret_cast<uintptr_t>(tensors[list]);
  }
  const bool aligned = address_bits % sizeof(uint4) == 0;
  const float scalar = operation.scalar(table.indices[tensor]);

  double sums[kSums > 0 ? kSums : 1] = {};
  for (int begin = static_cast<int>(threadIdx.x) * kSize; begin < size; begin += kThreads * kSize) {
    const int count = size - begin < kSize ? size - begin : kSize;
    if (aligned && count == kSize)
      operation(Slice<kSize, true>{first + begin, kSize}, tensors, scalar, sums);
    else
      operation(Slice<kSize, false>{first + begin, count}, tensors, scalar, sums);
  }
  if constexpr (kSums > 0) {
    add_up_block(sums);
    if (threadIdx.x == 0) {
#pragma unroll
      for (int k = 0; k < kSums; ++k) partials[static_cast<int64_t>(chunk) * kSums + k] = sums[k];
    }
  }
}

// One block per tensor: adds the partial sums of its chunks and calls finish(index, sums) with the totals.
template <int kLists, class Finish>
__global__ void __launch_bounds__(kThreads)
    finish_tensors(const TensorTable<kLists> table, const Finish finish, const double* partials) {
  constexpr int kSums = Finish::kSums;
  const int tensor = static_cast<int>(blockIdx.x);
  const int begin = tensor == 0 ? 0 : table.chunk_ends[tensor - 1], end = table.chunk_ends[tensor];
  double sums[kSums] = {};
  for (int chunk = begin + static_cast<int>(threadIdx.x); chunk < end; chunk += kThreads) {
#pragma unroll
    for (int k = 0; k < kSums; ++k) sums[k] += partials[static_cast<int64_t>(chunk) * kSums + k];
  }
  add_up_block(sums);
  if (threadIdx.x == 0) finish(table.indices[tensor], sums);
}

// One launch per table. An operation with sums needs space for kSums doubles per chunk in `partials`.
template <class Operation>
void for_each_chunk(const Lists<Operation::kLists>& lists, const Operation& operation, double* partials,
                    cudaStream_t stream) {
  using Table = TensorTable<Operation::kLists>;
  static_assert(sizeof(Table) + sizeof(Operation) + 2 * sizeof(void*) <= kParameterBytes);
  for_each_table(lists, [&](const Table& table, int64_t first_chunk) {
    if (table.chunks() == 0) return;
    simt::launch(run_chunks<Operation>, dim3(table.chunks()), dim3(kThreads), 0, stream, table, operation,
                 partials + first_chunk * Operation::kSums);
  });
}

// The same, followed by a launch that calls `finish` with each tensor's sums.
template <class Operation, class Finish>
void sum_per_tensor(const Lists<Operation::kLists>& lists, const Operation& operation, const Finish& finish,
                    double* partials, cudaStream_t stream) {
  using Table = TensorTable<Operation::kLists>;
  static_assert(Operation::kSums == Finish::kSums);
  static_assert(sizeof(Table) + sizeof(Finish) + 2 * sizeof(void*) <= kParameterBytes);
  for_each_chunk(lists, operation, partials, stream);
  for_each_table(lists, [&](const Table& table, int64_t first_chunk) {
    simt::launch(finish_tensors<Operation::kLists, Finish>, dim3(table.size), dim3(kThreads), 0, stream,
                 table, finish, partials + first_chunk * Operation::kSums);
  });
}

}  // namespace arsbench::multi_tensor
