// One thread of a kernel makes a mistake. Each line that an error should name is marked with the mistake's
// name.
#pragma once

#include <atomic>
#include <cstring>
#include <stdexcept>

#include "simt/ptx.h"

namespace {

std::atomic<int> objects{0};

struct Object {
  Object() { objects++; }
  ~Object() { objects--; }
};

__global__ void nothing() {}

// 16 × 4 threads and 1,024 bytes of dynamic shared memory.
__global__ void failing(const char* kind) {
  const auto is = [kind](const char* name) { return std::strcmp(kind, name) == 0; };
  const Object object;
  SIMT_DYNAMIC_SHARED(char, memory);
  SIMT_SHARED(float, few, 3);  // written beside
  const unsigned thread = threadIdx.y * 16 + threadIdx.x;
  const bool wrong = blockIdx.x == 1 && thread == 33;
  const bool its_warp = blockIdx.x == 1 && thread / 32 == 1;
  few[thread % 3] = 0;
  __syncthreads();

  if (is("two barriers")) {
    if (wrong) {
      __syncthreads();  // two barriers
    } else {
      __syncthreads();
    }
  }
  if (is("ended before a barrier")) {
    if (wrong) return;
    __syncthreads();  // ended before a barrier
  }
  if (is("lane never arrives") && its_warp) {
    if (!wrong) __syncwarp();  // lane never arrives
    __syncthreads();
  }
  if (is("lane ended") && its_warp) {
    if (wrong) return;
    __shfl_xor_sync(0xffffffffu, 1, 1);  // lane ended
  }
  if (is("not in its mask") && wrong) __ballot_sync(1u, 1);          // not in its mask
  if (is("source not in the mask") && wrong) __shfl_sync(2u, 1, 7);  // source not in the mask
  if (is("width") && wrong) __shfl_sync(2u, 1, 1, 12);               // width
  if (is("different operations") && its_warp) {
    if (wrong) {
      __any_sync(0xffffffffu, 1);  // different operations
    } else {
      __all_sync(0xffffffffu, 1);
    }
  }
  if (is("different masks") && its_warp) {
    if (wrong) {
      __ballot_sync(2u, 1);
    } else {
      __ballot_sync(0xffffffffu, 1);  // different masks
    }
  }
  alignas(16) static const char source[64] = {};
  if (is("unaligned destination") && wrong) ptx::cp_async16(memory + 8, source);   // unaligned destination
  if (is("unaligned source") && wrong) ptx::cp_async16(memory, source + 2);        // unaligned source
  if (is("destination outside") && wrong) ptx::cp_async16(memory + 1024, source);  // destination outside
  if (is("copy not waited for") && wrong) {
    ptx::cp_async16(memory, source);  // copy not waited for
    ptx::cp_async_commit();
    ptx::cp_async_wait<1>();
  }
  unsigned fragment[4];
  if (is("unaligned row") && its_warp) {
    ptx::ldmatrix_x4(fragment, memory + 16 * (thread % 32) + (wrong ? 2 : 0));  // unaligned row
  }
  if (is("row outside") && its_warp) {
    ptx::ldmatrix_x4_trans(fragment, memory + (wrong ? 1024 : 0));  // row outside
  }
  if (is("written beside") && wrong) {
    volatile float* past = few;
    past[3] = 1;
  }
  if (is("too much shared memory") && wrong) {
    SIMT_SHARED(char, many, 48 * 1024);  // too much shared memory
    many[0] = 1;
  }
  if (is("exception") && wrong) throw std::runtime_error("thrown by a kernel");
  if (is("launch within a kernel") && wrong) simt::launch(nothing, 1, 1, 0, nullptr);
  if (is("amid barriers")) {
    for (int i = 0; i < 3; i++) __syncthreads();
    if (wrong) __ballot_sync(1u, 1);  // amid barriers
    for (int i = 0; i < 100; i++) __syncthreads();
  }
}

}  // namespace
