// Kernels that show what the host execution itself does, one behaviour each.
#include <atomic>
#include <cstring>

#include "../../../csrc/simt/ptx.h"
#include "api.h"
#include "simt_failures.h"
#include "simt_layout.h"

namespace {

// ---- Where a thread is

// A row of 13 numbers a thread: the three indices, the sizes, and warpSize.
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

// The turn in which each thread of each block came to its end.
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

// Arrays of two instantiations and of two declarations are different arrays, all of a block's threads see the
// same, and all begin at multiples of 128 bytes.
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

// Sums by halving: a barrier after each step, for any number of threads.
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

// The halves of a warp do different things, and each different numbers of them.
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

// What a lane writes before __syncwarp, its neighbour reads after it.
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
  atomicAdd(&integers[6], atomicExch(&integers[7], thread));  // together they have every number but the last
  int seen = integers[8], before;
  while ((before = atomicCAS(&integers[8], seen, seen + 2)) != seen) seen = before;
  atomicInc(counter, 9);
  atomicAdd(single, 0.5f);
  atomicAdd(real, 0.25);
  atomicAdd(wide, 1ull << 33);
}

// The last block to arrive sums what all have written.
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

// Two groups; what shared memory holds after the copies were asked for, after the wait for the first, after
// the second.
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

// Rows of matrices at this distance, in bytes.
__global__ void matrix_rows(int stride) {
  SIMT_DYNAMIC_SHARED(char, memory);
  unsigned fragment[4];
  ptx::ldmatrix_x4(fragment, memory + static_cast<int>(threadIdx.x) * stride);
}

template <class T>
T* as(void* address) {
  return static_cast<T*>(address);
}

}  // namespace

SIMT_API const char* simt_indices(void* out, int64_t grid_x, int64_t grid_y, int64_t grid_z, int64_t block_x,
                                  int64_t block_y, int64_t block_z) {
  const auto extent = [](int64_t x, int64_t y, int64_t z) {
    return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
  };
  return reported([&] {
    simt::launch(indices, extent(grid_x, grid_y, grid_z), extent(block_x, block_y, block_z), 0, nullptr,
                 as<int>(out));
  });
}

SIMT_API const char* simt_turns(void* turn, void* counters, int64_t blocks, int64_t threads) {
  return reported([&] {
    simt::launch(turns, static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0, nullptr,
                 as<int>(turn), as<int>(counters));
  });
}

SIMT_API const char* simt_uninitialised(void* bf16, void* single, void* real, void* integer, void* dynamic) {
  return reported([&] {
    simt::launch(uninitialised, 1, 1, 3 * sizeof(float), nullptr, as<__nv_bfloat16>(bf16), as<float>(single),
                 as<double>(real), as<int>(integer), as<float>(dynamic));
  });
}

SIMT_API const char* simt_arrays(void* out, int64_t threads) {
  return reported([&] {
    simt::launch(arrays, 1, static_cast<unsigned>(threads), 5 * sizeof(int), nullptr, as<int>(out));
  });
}

SIMT_API const char* simt_block_sums(void* in, void* out, int64_t blocks, int64_t threads) {
  return reported([&] {
    simt::launch(block_sums, static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0, nullptr,
                 as<int>(in), as<int>(out));
  });
}

SIMT_API const char* simt_fill_shared(void* out, int64_t bytes) {
  return reported([&] {
    simt::launch(fill_shared, 1, 64, static_cast<size_t>(bytes), nullptr, as<int>(out),
                 static_cast<int>(bytes));
  });
}

SIMT_API const char* simt_shuffles(void* in, void* out, int64_t bytes, int64_t kind, int64_t amount,
                                   int64_t width) {
  const auto run = [&]<class T>(T* from) {
    simt::launch(shuffles<T>, 1, 32, 0, nullptr, from, as<T>(out), static_cast<int>(kind),
                 static_cast<int>(amount), static_cast<int>(width));
  };
  return reported([&] {
    if (bytes == 2) run(as<__nv_bfloat16>(in));
    if (bytes == 4) run(as<float>(in));
    if (bytes == 8) run(as<double>(in));
  });
}

SIMT_API const char* simt_half_warps(void* out) {
  return reported([&] { simt::launch(half_warps, 1, 32, 0, nullptr, as<int>(out)); });
}

SIMT_API const char* simt_votes(void* predicate, void* out) {
  return reported([&] { simt::launch(votes, 1, 32, 0, nullptr, as<int>(predicate), as<unsigned>(out)); });
}

SIMT_API const char* simt_neighbours(void* out) {
  return reported([&] { simt::launch(neighbours, 1, 64, 0, nullptr, as<int>(out)); });
}

SIMT_API const char* simt_atomics(void* integers, void* counter, void* single, void* real, void* wide,
                                  int64_t blocks, int64_t threads) {
  return reported([&] {
    simt::launch(atomics, static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0, nullptr,
                 as<int>(integers), as<unsigned>(counter), as<float>(single), as<double>(real),
                 as<unsigned long long>(wide));
  });
}

SIMT_API const char* simt_last_block(void* partial, void* arrived, void* out, int64_t blocks) {
  return reported([&] {
    simt::launch(last_block, static_cast<unsigned>(blocks), 1, 0, nullptr, as<int>(partial),
                 as<unsigned>(arrived), as<int>(out));
  });
}

SIMT_API const char* simt_functions(void* in, void* out, int64_t count) {
  return reported([&] {
    simt::launch(functions, static_cast<unsigned>(count + 31) / 32, 32, 0, nullptr, as<float>(in),
                 as<float>(out), static_cast<int>(count));
  });
}

SIMT_API const char* simt_integer_functions(void* in, void* out, int64_t count) {
  return reported([&] {
    simt::launch(integer_functions, 1, 64, 0, nullptr, as<int>(in), as<int>(out), static_cast<int>(count));
  });
}

SIMT_API const char* simt_round_to_bfloat16(void* in, void* out, void* back, int64_t count) {
  return reported([&] {
    simt::launch(round_to_bfloat16, static_cast<unsigned>(count / 2 + 255) / 256, 256, 0, nullptr,
                 as<float>(in), as<__nv_bfloat16>(out), as<float>(back), static_cast<int>(count));
  });
}

SIMT_API const char* simt_copies(void* in, void* out) {
  return reported([&] { simt::launch(copies, 1, 1, 0, nullptr, as<float>(in), as<float>(out)); });
}

// Returns, in `out`, what simt::stats() gained: barriers, collectives, bank conflicts.
SIMT_API const char* simt_statistics(void* out, int64_t stride) {
  return reported([&] {
    auto& stats = simt::stats();
    const uint64_t before[3] = {stats.barriers, stats.collectives, stats.bank_conflicts};
    simt::launch(matrix_rows, 2, 32, 32 * 256, nullptr, static_cast<int>(stride));
    const uint64_t after[3] = {stats.barriers, stats.collectives, stats.bank_conflicts};
    for (int i = 0; i < 3; i++) as<int64_t>(out)[i] = static_cast<int64_t>(after[i] - before[i]);
  });
}

SIMT_API const char* simt_configuration(void* out) {
  return reported([&] {
    const auto& config = simt::config();
    const int64_t values[] = {config.seed, config.threads, config.cp_async, config.poison};
    std::memcpy(out, values, sizeof values);
  });
}

SIMT_API const char* simt_mma_layout(void* mismatches) {
  return reported([&] { simt::launch(mma_layout, 1, 32, 0, nullptr, as<int>(mismatches)); });
}

SIMT_API const char* simt_ldmatrix_layout(void* mismatches) {
  return reported([&] { simt::launch(ldmatrix_layout, 1, 32, 0, nullptr, as<int>(mismatches)); });
}

// The thread (1,2,0) of block (1,0,0) fails in the way that is named. `alive`: objects that were not
// destroyed.
SIMT_API const char* simt_failure(void* kind, void* alive) {
  objects = 0;
  const char* error =
      reported([&] { simt::launch(failing, dim3(3), dim3(16, 4), 1024, nullptr, as<const char>(kind)); });
  *as<int64_t>(alive) = objects;
  return error;
}

SIMT_API const char* simt_launch(int64_t grid_x, int64_t grid_y, int64_t block_x, int64_t block_z,
                                 int64_t shared_bytes) {
  return reported([&] {
    simt::launch(nothing, dim3(static_cast<unsigned>(grid_x), static_cast<unsigned>(grid_y)),
                 dim3(static_cast<unsigned>(block_x), 1, static_cast<unsigned>(block_z)),
                 static_cast<size_t>(shared_bytes), nullptr);
  });
}
