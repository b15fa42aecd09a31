// Rows of heads: the tensors that kernels read and write, the copying of a tile of rows into shared memory,
// and the normalisation and rotation of queries and keys there. arsbench/ops/rope_attention.py describes the
// mathematics.
//
// Every kernel runs blocks of kThreads threads. A row of a tile in shared memory has head_dim elements and 16
// bytes of padding, so that the 16-byte chunks of different rows are in different banks.
#pragma once

#include "../simt/ptx.h"

namespace arsbench::rope_attention_cuda {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// A tensor (B, T, heads, D) with contiguous D and rows that start at multiples of 16 bytes. Strides are in
// elements.
template <class Scalar>
struct HeadRows {
  Scalar* data;
  int64_t batch_stride, position_stride, head_stride;

  __device__ __forceinline__ Scalar* head(int64_t batch, int64_t index) const {
    return data + batch * batch_stride + index * head_stride;
  }
};

template <class Scalar>
__host__ __device__ inline HeadRows<Scalar> contiguous_rows(Scalar* data, int64_t length, int64_t heads,
                                                            int64_t head_dim) {
  return {data, length * heads * head_dim, heads * head_dim, head_dim};
}

struct Sizes {
  int batch, length, heads, kv_heads;
};

// cos and sin of position times frequency, (T, D/2), and the other inputs of normalisation and rotation.
struct Preparation {
  const float *q_weight, *k_weight, *cos, *sin;
  float eps;
};

// Number of elements in 16 bytes.
template <class Scalar>
struct Chunk {
  static constexpr int kSize = 16 / sizeof(Scalar);
};

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ void from_float(float& to, float x) { to = x; }
__device__ __forceinline__ void from_float(__nv_bfloat16& to, float x) { to = __float2bfloat16_rn(x); }

// `Bytes` bytes in one access: N elements, in memory that is aligned to `Bytes`.
template <int Bytes>
struct Packet;
template <>
struct Packet<16> {
  using Type = uint4;
};
template <>
struct Packet<8> {
  using Type = uint2;
};
template <>
struct Packet<4> {
  using Type = unsigned;
};

template <int N, class Scalar>
__device__ __forceinline__ void load(float (&to)[N], const Scalar* from) {
  using Type = typename Packet<N * sizeof(Scalar)>::Type;
  alignas(sizeof(Type)) Scalar elements[N];
  *reinterpret_cast<Type*>(elements) = *reinterpret_cast<const Type*>(from);
#pragma unroll
  for (int i = 0; i < N; ++i) to[i] = to_float(elements[i]);
}

template <int N, class Scalar>
__device__ __forceinline__ void store(Scalar* to, const float (&from)[N]) {
  using Type = typename Packet<N * sizeof(Scalar)>::Type;
  alignas(sizeof(Type)) Scalar elements[N];
#pragma unroll
  for (int i = 0; i < N; ++i) from_float(elements[i], from[i]);
  *reinterpret_cast<Type*>(to) = *reinterpret_cast<const Type*>(elements);
}

// N floats from an address that is a multiple of 16 bytes; N may be less than four.
template <int N>
__device__ __forceinline__ void load_floats(float (&to)[N], const float* from) {
  if constexpr (N % 4 == 0) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
      const float4 x = *reinterpret_cast<const float4*>(from + i);
      to[i] = x.x, to[i + 1] = x.y, to[i + 2] = x.z, to[i + 3] = x.w;
    }
  } else {
    static_assert(N == 2, "");
    const float2 x = *reinterpret_cast<const float2*>(from);
    to[0] = x.x, to[1] = x.y;
  }
}

// The sum over groups of `Lanes` neighbouring lanes; every lane gets it.
template <int Lanes>
__device__ __forceinline__ float sum_over_lanes(float x) {
#pragma unroll
  for (int offset = 1; offset < Lanes; offset *= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

template <int Lanes>
__device__ __forceinline__ float max_over_lanes(float x) {
#pragma unroll
  for (int offset = 1; offset < Lanes; offset *= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, offset));
  return x;
}

// A tile of Rows rows. A thread copies one chunk of a row's first half and the chunk that rotates with it, so
// that it can prepare them in place without a barrier: no other thread accesses them before.
template <class Scalar, int Rows, int HeadDim>
struct RowTile {
  static constexpr int kChunk = Chunk<Scalar>::kSize;
  static constexpr int kStride = HeadDim + kChunk;
  static constexpr int kElements = Rows * kStride;
  static constexpr int kHalf = HeadDim / 2;
  static constexpr int kLanes = kHalf / kChunk;  // per row
  static constexpr int kRowsAtOnce = kThreads / kLanes;
  static_assert(Rows % kRowsAtOnce == 0 && 32 % kLanes == 0, "every thread takes part in every shuffle");

  // Starts to copy the rows first … first + Rows − 1 of a head; rows from `length` on become zero.
  static __device__ __forceinline__ void fetch(Scalar* tile, const Scalar* head, int64_t stride, int first,
                                               int length) {
    const int column = static_cast<int>(threadIdx.x) % kLanes * kChunk;
#pragma unroll
    for (int i = 0; i < Rows / kRowsAtOnce; ++i) {
      const int row = static_cast<int>(threadIdx.x) / kLanes + i * kRowsAtOnce;
      const bool valid = first + row < length;
      const Scalar* from = head + (valid ? (first + row) * stride : 0) + column;
      Scalar* to = tile + row * kStride + column;
      ptx::cp_async16(to, from, valid);
      ptx::cp_async16(to + kHalf, from + kHalf, valid);
    }
  }

  // Normalises and rotates the chunks that this thread copied, in float32, and rounds once. Rows from
  // `length` on stay zero for any weights and eps.
  static __device__ __forceinline__ void prepare(Scalar* tile, const float* weight, const Preparation& p,
                                                 int first, int length) {
    const int column = static_cast<int>(threadIdx.x) % kLanes * kChunk;
    float low_weight[kChunk], high_weight[kChunk];
    load_floats(low_weight, weight + column);
    load_floats(high_weight, weight + column + kHalf);
#pragma unroll
    for (int i = 0; i < Rows / kRowsAtOnce; ++i) {
      const int row = static_cast<int>(threadIdx.x) / kLanes + i * kRowsAtOnce;
      Scalar* at = tile + row * kStride + column;
      float low[kChunk], high[kChunk], squares = 0;
      load(low, at);
      load(high, at + kHalf);
#pragma unroll
      for (int e = 0; e < kChunk; ++e) squares = fmaf(low[e], low[e], fmaf(high[e], high[e], squares));
      const float scale = 1.0f / sqrtf(sum_over_lanes<kLanes>(squares) / HeadDim + p.eps);
      if (first + row < length) {
        float cos[kChunk], sin[kChunk];
        const int64_t angles = static_cast<int64_t>(first + row) * kHalf + column;
        load_floats(cos, p.cos + angles);
        load_floats(sin, p.sin + angles);
#pragma unroll
        for (int e = 0; e < kChunk; ++e) {
          const float a = low[e] * scale * low_weight[e], b = high[e] * scale * high_weight[e];
          low[e] = a * cos[e] - b * sin[e];
          high[e] = b * cos[e] + a * sin[e];
        }
        store(at, low);
        store(at + kHalf, high);
      }
    }
  }
};

}  // namespace arsbench::rope_attention_cuda
