// The fragments of mma and ldmatrix, checked against an independent description: CuTe's layouts of these
// instructions, where the coordinates of lane and register have strides over the matrix, in column-major
// order. A matrix product alone would not reveal a permutation of k common to a and b.
#pragma once

#include "simt/ptx.h"

namespace {

// The position of value `value` of lane `lane` in a (16×16, m + 16 k), b (8×16, n + 8 k) and d (16×8, m + 16
// n).
__device__ int place_in_a(int lane, int value) {
  return lane % 4 * 32 + lane / 4 + value % 2 * 16 + value / 2 % 2 * 8 + value / 4 * 128;
}
__device__ int place_in_b(int lane, int value) {
  return lane % 4 * 16 + lane / 4 + value % 2 * 8 + value / 2 * 64;
}
__device__ int place_in_d(int lane, int value) {
  return lane % 4 * 32 + lane / 4 + value % 2 * 16 + value / 2 * 8;
}

__device__ float value_of_a(int m, int k) { return static_cast<float>((m * 7 + k * 13) % 31 - 15); }
__device__ float value_of_b(int n, int k) { return static_cast<float>((n * 11 + k * 5) % 29 - 14); }

__global__ void mma_layout(int* mismatches) {
  const int lane = static_cast<int>(threadIdx.x);
  unsigned a[4], b[2];
  float d[4];
  const auto a_at = [lane](int value) {
    const int place = place_in_a(lane, value);
    return value_of_a(place % 16, place / 16);
  };
  const auto b_at = [lane](int value) {
    const int place = place_in_b(lane, value);
    return value_of_b(place % 8, place / 8);
  };
  for (int i = 0; i < 4; i++) a[i] = ptx::pack_bf16(a_at(2 * i), a_at(2 * i + 1));
  for (int i = 0; i < 2; i++) b[i] = ptx::pack_bf16(b_at(2 * i), b_at(2 * i + 1));
  for (int i = 0; i < 4; i++) d[i] = static_cast<float>(1000 * place_in_d(lane, i));
  ptx::mma_bf16(d, a, b[0], b[1]);
  for (int i = 0; i < 4; i++) {
    const int m = place_in_d(lane, i) % 16, n = place_in_d(lane, i) / 16;
    float expected = static_cast<float>(1000 * place_in_d(lane, i));
    for (int k = 0; k < 16; k++) expected += value_of_a(m, k) * value_of_b(n, k);
    if (d[i] != expected) atomicAdd(mismatches, 1);
  }

  // One column of a at a time is ones: the product is the row of b that it was multiplied with.
  for (int column = 0; column < 16; column++) {
    const auto one_at = [&](int value) { return place_in_a(lane, value) / 16 == column ? 1.0f : 0.0f; };
    const auto k_at = [&](int value) { return static_cast<float>(place_in_b(lane, value) / 8 + 1); };
    for (int i = 0; i < 4; i++) a[i] = ptx::pack_bf16(one_at(2 * i), one_at(2 * i + 1));
    for (int i = 0; i < 2; i++) b[i] = ptx::pack_bf16(k_at(2 * i), k_at(2 * i + 1));
    for (float& value : d) value = 0;
    ptx::mma_bf16(d, a, b[0], b[1]);
    for (const float value : d) {
      if (value != static_cast<float>(column + 1)) atomicAdd(mismatches, 1);
    }
  }
}

// The same for TF32: a is 16×8, b is 8×8, one value per register. The unused bits are set and must have no
// effect.
__device__ int place_in_tf32_a(int lane, int value) {
  return lane % 4 * 16 + lane / 4 + value % 2 * 8 + value / 2 * 64;
}
__device__ int place_in_tf32_b(int lane, int value) { return lane % 4 * 8 + lane / 4 + value * 32; }

__global__ void mma_tf32_layout(int* mismatches) {
  const int lane = static_cast<int>(threadIdx.x);
  const auto bits = [](float x) { return __float_as_uint(x) | 0x1fffu; };
  for (int column = -1; column < 8; column++) {  // −1: all of a; otherwise only this column, as ones
    const auto a_at = [column](int m, int k) {
      return column < 0 ? value_of_a(m, k) : k == column ? 1.0f : 0.0f;
    };
    unsigned a[4], b[2];
    float d[4];
    for (int i = 0; i < 4; i++) {
      const int place = place_in_tf32_a(lane, i);
      a[i] = bits(a_at(place % 16, place / 16));
    }
    for (int i = 0; i < 2; i++) {
      const int place = place_in_tf32_b(lane, i);
      b[i] = bits(value_of_b(place % 8, place / 8));
    }
    for (int i = 0; i < 4; i++) d[i] = static_cast<float>(1000 * place_in_d(lane, i));
    ptx::mma_tf32(d, a, b[0], b[1]);
    for (int i = 0; i < 4; i++) {
      const int m = place_in_d(lane, i) % 16, n = place_in_d(lane, i) / 16;
      float expected = static_cast<float>(1000 * place_in_d(lane, i));
      for (int k = 0; k < 8; k++) expected += a_at(m, k) * value_of_b(n, k);
      if (d[i] != expected) atomicAdd(mismatches, 1);
    }
  }
}

// Four 8×8 matrices whose elements are numbered in row-major order. A lane's register holds two elements: in
// CuTe's notation, thread (4, 8) : (2, 8), value 2 : 1 over the row-major matrix.
__global__ void ldmatrix_layout(int* mismatches) {
  SIMT_SHARED(__nv_bfloat16, matrices, 4 * 64);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 4 * 64; i += 32) matrices[i] = __float2bfloat16_rn(static_cast<float>(i));
  __syncwarp();
  unsigned plain[4], transposed[4];
  ptx::ldmatrix_x4(plain, &matrices[8 * lane]);
  ptx::ldmatrix_x4_trans(transposed, &matrices[8 * lane]);
  for (int i = 0; i < 4; i++) {
    const int place = lane % 4 * 2 + lane / 4 * 8, mirrored = lane % 4 * 16 + lane / 4;
    const auto element = [i](int at) { return static_cast<float>(64 * i + at); };
    if (plain[i] != ptx::pack_bf16(element(place), element(place + 1))) atomicAdd(mismatches, 1);
    if (transposed[i] != ptx::pack_bf16(element(mirrored), element(mirrored + 8))) atomicAdd(mismatches, 1);
  }
}

}  // namespace
