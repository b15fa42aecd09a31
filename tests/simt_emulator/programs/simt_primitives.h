// Kernels that test the emulator, one behaviour each.
#pragma once

#include <cstdint>

#include "simt/ptx.h"

namespace {

// ---- Where a thread is

// A row of 13 numbers per thread: the three indices, the sizes, and warpSize.
__global__ void indices(int* out) {
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  int* row = out + (block * threads + thread) * 13;
  const unsigned values[13] = {threadIdx.x, threadIdx.y, threadIdx.z, blockIdx.x, blockIdx.y,
                               blockIdx.z,  blockDim.x,  blockDim.y,  blockDim.z, gridDim.x,
                               gridDim.y,   gridDim.z,   warpSize};
  for (int i = 0; i < 13; i++) row[i] += static_cast<int>(values[i]);
}

// The order in which the threads of each block end.
__global__ void turns(int* turn, int* counters) {
  __syncthreads();
  turn[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(&counters[blockIdx.x], 1);
}

// ---- Shared memory and barriers

template <class T>
__device__ void first_values(T* out) {
  SIMT_SHARED(T, values, 3);
  for (int i = 0; i < 3; i++) out[i] = values[i];
}

__global__ void uninitialised(__nv_bfloat16* bf16, float* single, double* real, int* integer,
                              float* dynamic) {
  SIMT_DYNAMIC_SHARED(float, memory);
  first_values(bf16);
  first_values(single);
  first_values(real);
  first_values(integer);
  for (int i = 0; i < 3; i++) dynamic[i] = memory[i];
}

// Arrays of different instantiations and declarations are different arrays, all threads of a block see the
// same array, and all arrays begin at multiples of 128 bytes.
template <int kValue>
__device__ int* array() {
  SIMT_SHARED(int, values, 5);
  if (threadIdx.x == 0) values[4] = kValue;
  return values;
}

__global__ void arrays(int* out) {
  SIMT_DYNAMIC_SHARED(int, dynamic);
  int* one = array<1>();
  int* two = array<2>();
  if (threadIdx.x == 0) dynamic[4] = 3;
  __syncthreads();
  int* row = out + threadIdx.x * 4;
  row[0] = one[4];
  row[1] = two[4];
  row[2] = dynamic[4];
  row[3] = static_cast<int>((reinterpret_cast<uintptr_t>(one) | reinterpret_cast<uintptr_t>(two) |
                             reinterpret_cast<uintptr_t>(dynamic)) %
                            128);
}

// Tree reduction: a barrier after each step, for any number of threads.
__global__ void block_sums(const int* in, int* out) {
  SIMT_SHARED(int, values, 1024);
  const unsigned thread = threadIdx.x, count = blockDim.x;
  values[thread] = in[blockIdx.x * count + thread];
  __syncthreads();
  for (unsigned left = count; left > 1; left = (left + 1) / 2) {
    const int other = thread + (left + 1) / 2 < left ? values[thread + (left + 1) / 2] : 0;
    __syncthreads();
    values[thread] += other;
    __syncthreads();
  }
  if (thread == 0) out[blockIdx.x] = values[0];
}

__global__ void fill_shared(int* out, int count) {
  SIMT_DYNAMIC_SHARED(char, dynamic);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) dynamic[i] = 1;
  __syncthreads();
  if (threadIdx.x != 0) return;
  int sum = 0;
  for (int i = 0; i < count; i++) sum += dynamic[i];
  *out = sum;
}

// ---- Warps

template <class T>
__global__ void shuffles(const T* in, T* out, int kind, int amount, int width) {
  const T mine = in[threadIdx.x];
  T other = mine;
  if (kind == 0) other = __shfl_sync(0xffffffffu, mine, amount, width);
  if (kind == 1) other = __shfl_up_sync(0xffffffffu, mine, static_cast<unsigned>(amount), width);
  if (kind == 2) other = __shfl_down_sync(0xffffffffu, mine, static_cast<unsigned>(amount), width);
  if (kind == 3) other = __shfl_xor_sync(0xffffffffu, mine, amount, width);
  out[threadIdx.x] = other;
}

// The halves of a warp run different operations, and different numbers of them.
__global__ void half_warps(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  int value = lane;
  if (lane < 16) {
    for (int i = 1; i < 16; i *= 2) value += __shfl_xor_sync(0x0000ffffu, value, i);
  } else {
    value = __shfl_sync(0xffff0000u, value, 20);
    value += static_cast<int>(__ballot_sync(0xffff0000u, lane % 2) >> 16);
  }
  __syncwarp();
  out[lane] = value;
}

__global__ void votes(const int* predicate, unsigned* out) {
  const int mine = predicate[threadIdx.x];
  unsigned* row = out + threadIdx.x * 3;
  row[0] = __ballot_sync(0xffffffffu, mine);
  row[1] = static_cast<unsigned>(__any_sync(0xffffffffu, mine));
  row[2] = static_cast<unsigned>(__all_sync(0xffffffffu, mine));
}

// A lane reads after __syncwarp what its neighbour wrote before.
__global__ void neighbours(int* out) {
  SIMT_SHARED(int, values, 64);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  for (int i = 0; i < 5; i++) {
    values[thread] = 100 * i + thread;
    __syncwarp();
    out[64 * i + thread] = values[thread - lane + (lane + 1) % 32];
    __syncwarp();
  }
}

// ---- Atomic operations

__global__ void atomics(int* integers, unsigned* counter, float* single, double* real,
                        unsigned long long* wide) {
  const int thread = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(&integers[0], thread);
  atomicSub(&integers[1], thread);
  atomicMin(&integers[2], thread - 7);
  atomicMax(&integers[3], thread);
  atomicAnd(&integers[4], ~(1 << thread % 31));
  atomicOr(&integers[5], 1 << thread % 31);
  atomicAdd(&integers[6], atomicExch(&integers[7], thread));  // together all numbers except the last
  int seen = integers[8], before;
  while ((before = atomicCAS(&integers[8], seen, seen + 2)) != seen) seen = before;
  atomicInc(counter, 9);
  atomicAdd(single, 0.5f);
  atomicAdd(real, 0.25);
  atomicAdd(wide, 1ull << 33);
}

// The last block to arrive adds the values of all blocks.
__global__ void last_block(int* partial, unsigned* arrived, int* out) {
  partial[blockIdx.x] = static_cast<int>(blockIdx.x * blockIdx.x);
  __threadfence();
  if (atomicInc(arrived, gridDim.x - 1) != gridDim.x - 1) return;
  __threadfence();
  int sum = 0;
  for (unsigned i = 0; i < gridDim.x; i++) sum += partial[i];
  *out = sum;
}

// ---- Functions

__global__ void functions(const float* in, float* out, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  const float x = in[i];
  float sine, cosine;
  sincosf(x, &sine, &cosine);
  const float values[] = {rsqrtf(x),
                          __expf(x),
                          __logf(x),
                          exp2f(x),
                          log2f(x),
                          __fdividef(x, 3.0f),
                          __fmaf_rn(x, x, 1),
                          fmaf(x, -x, 2),
                          __ldg(in + i),
                          __double2float_rn(1.0 / x),
                          sine,
                          cosine,
                          fmaxf(x, 2.0f),
                          __uint_as_float(__float_as_uint(x) ^ 0x80000000u),
                          __int_as_float(__float_as_int(x))};
  for (int k = 0; k < 15; k++) out[k * count + i] = values[k];
}

__global__ void integer_functions(const int* in, int* out, int count) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= count) return;
  const int x = in[i];
  const int values[] = {__popc(static_cast<unsigned>(x)), __clz(x), __ffs(x), min(x, 5), max(x, 5),
                        static_cast<int>(max(x, 5u))};
  for (int k = 0; k < 6; k++) out[k * count + i] = values[k];
}

__global__ void round_to_bfloat16(const float* in, __nv_bfloat16* out, float* back, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (2 * i >= count) return;
  const __nv_bfloat162 pair = __floats2bfloat162_rn(in[2 * i], in[2 * i + 1]);
  const __nv_bfloat162 same =
      __halves2bfloat162(__float2bfloat16_rn(in[2 * i]), __float2bfloat16_rn(in[2 * i + 1]));
  out[2 * i] = pair.x;
  out[2 * i + 1] = same.y;
  const float2 values = __bfloat1622float2(same);
  back[2 * i] = values.x;
  back[2 * i + 1] = __bfloat162float(pair.y);
}

// ---- Asynchronous copies

// Two groups: the contents of shared memory before any wait, after the wait for the first, after the second.
__global__ void copies(const float* in, float* out) {
  SIMT_SHARED(float, values, 12);
  ptx::cp_async16(&values[0], &in[0]);
  ptx::cp_async_commit();
  ptx::cp_async16(&values[4], &in[4]);
  ptx::cp_async16(&values[8], nullptr, false);
  ptx::cp_async_commit();
  for (int i = 0; i < 12; i++) out[i] = values[i];
  ptx::cp_async_wait<1>();
  for (int i = 0; i < 12; i++) out[12 + i] = values[i];
  ptx::cp_async_wait<0>();
  for (int i = 0; i < 12; i++) out[24 + i] = values[i];
}

// Rows of matrices with this stride in bytes.
__global__ void matrix_rows(int stride) {
  SIMT_DYNAMIC_SHARED(char, memory);
  unsigned fragment[4];
  ptx::ldmatrix_x4(fragment, memory + static_cast<int>(threadIdx.x) * stride);
}

}  // namespace
