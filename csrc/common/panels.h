// Matrix products on raw memory, by blocks that are copied into panels and multiplied in registers. Products
// of tensors go through products.h. Independent of torch.
#pragma once

#include <cstdint>

#include "bfloat16.h"

namespace arsbench {

// A matrix in memory: element (i, j) is data[i·row_stride + j·column_stride].
template <class T>
struct Matrix {
  T* data;
  std::int64_t rows, columns, row_stride, column_stride;

  T* at(std::int64_t row, std::int64_t column) const {
    return data + row * row_stride + column * column_stride;
  }
  Matrix transposed() const { return {data, columns, rows, column_stride, row_stride}; }
  Matrix block(std::int64_t row, std::int64_t column, std::int64_t height, std::int64_t width) const {
    return {at(row, column), height, width, row_stride, column_stride};
  }
};

// How bfloat16 matrices are multiplied: as float32, by dot products of pairs (AVX-512 BF16), or in tile
// registers (AMX). Sums are in float32 in each.
enum class Bfloat16Kernel { widened, pairs, tiles };

// Whether this process may use a kernel.
bool is_supported(Bfloat16Kernel kernel);

// c ← alpha·a·b + beta·addend. Sums are in float32, in an order that depends on the length of the sum alone:
// neither on the other sizes nor on which part of c is computed, nor, between levels with fused multiply-add,
// on the vector level.
template <class T, class C>
struct Product {
  Matrix<const T> a, b;
  Matrix<C> c;  // rows or columns contiguous; must not overlap a and b
  float alpha = 1, beta = 0;
  const C* addend = nullptr;   // with c's strides; may be c itself
  bool lower = false;          // what lies above the diagonal may be left out; c's rows must be contiguous
  std::int64_t first_row = 0;  // where c's first row lies in the matrix that has the diagonal
  Bfloat16Kernel kernel = Bfloat16Kernel::widened;  // if T is bfloat16; the machine must have it
};

// Computes a product on the calling thread. Keeps a workspace of up to 6.5 MiB per thread.
template <class T, class C>
void multiply(const Product<T, C>& product);

}  // namespace arsbench
