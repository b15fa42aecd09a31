// Newton-Schulz on the GPU: the sequence of launches. X is (n, m) with n ≤ m, a matrix or its transpose.
//
// direct   A = XXᵀ, P = aI + bA + cA², X ← PX. A step is one product of n×n with n×m, and the upper half of
//          the symmetric products A and A²: 3n²m + n³ flops.
// Gram     Two steps at a time; the second uses the Gram matrix alone. A and P as above; A' = PAP is the Gram
//          matrix of PX, and P' = aI + bA' + cA'²; X ← (P'P)X. (3n²m + 5n³)/2 flops a step. The last step of
//          an odd number is direct.
//
// Each pair of steps starts with a new Gram matrix of the current X, because bf16 rounding leaves A slightly
// different from any Gram matrix: each step multiplies the error in small eigenvalues by a² = 12, and the
// polynomial diverges from negative eigenvalues. In simulations over matrices with flat, decaying and nearly
// singular spectra, the error relative to that of the same iteration in plain bf16 was 0.3 to 0.9 for the
// direct form, 0.4 to 1.2 for pairs of steps, and unbounded for three steps at a time. Source of the
// iteration on the Gram matrix: Dao-AILab, "Gram Newton-Schulz" (2026).
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "newton_schulz_product.cuh"
#include "newton_schulz_scale.cuh"

namespace arsbench::newton_schulz_cuda {

enum class Form { kDirect, kGram, kLibrary };

// The Gram form takes 11/14 of the direct form's flops at m = 2n and half at m ≫ n; below m = 2n it saves too
// little for its larger error. A matrix with fewer than 16 rows fills less than a sixteenth of a 64×64 tile:
// it uses ATen's products, as do matrices of 2³² elements.
inline Form choose_form(int64_t rows, int64_t columns, int64_t steps) {
  const int64_t n = rows < columns ? rows : columns, m = rows < columns ? columns : rows;
  if (n < 16 || (n + 8) * (m + 8) >= int64_t{1} << 32) return Form::kLibrary;
  return steps > 1 && m >= 2 * n ? Form::kGram : Form::kDirect;
}

struct Shape {
  int batch, rows, columns;

  bool tall() const { return rows > columns; }
  int short_side() const { return tall() ? columns : rows; }
  int long_side() const { return tall() ? rows : columns; }
  // Multiples of 8 elements (16 bytes), as asynchronous copies require.
  int n() const { return (short_side() + 7) / 8 * 8; }
  int m() const { return (long_side() + 7) / 8 * 8; }
};

// The parts of the workspace, each for the whole batch.
struct Workspace {
  bf16 *x, *other_x;       // (n, m)
  bf16 *gram, *p, *spare;  // (n, n)
  float* diagonals[3];     // (n,)
  double* partials;        // (Partials::kBlocks,)
  size_t bytes;

  Workspace(void* memory, const Shape& s) : bytes(0) {
    const auto part = [&](auto*& pointer, size_t elements) {
      pointer =
          reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(static_cast<char*>(memory) + bytes);
      bytes += (elements * s.batch * sizeof(*pointer) + 255) / 256 * 256;
    };
    const size_t n = s.n(), m = s.m();
    for (bf16** matrix : {&x, &other_x}) part(*matrix, n * m);
    for (bf16** matrix : {&gram, &p, &spare}) part(*matrix, n * n);
    for (float*& diagonal : diagonals) part(diagonal, n);
    part(partials, Partials::kBlocks);
  }
};

inline size_t workspace_bytes(const Shape& s) { return Workspace(nullptr, s).bytes; }

// The products of one call, in launch order. T: the type of the op's argument and result.
template <class T>
class Iteration {
 public:
  Iteration(const Workspace& workspace, const Shape& shape, const float (&coefficients)[3], int processors,
            cudaStream_t stream)
      : w_(workspace), shape_(shape), processors_(processors), stream_(stream) {
    base_.a = coefficients[0];
    base_.b = coefficients[1];
    base_.c = coefficients[2];
    base_.out_rows = shape.short_side();
    base_.out_columns = shape.long_side();
    base_.row_stride = shape.tall() ? 1 : shape.columns;
    base_.column_stride = shape.tall() ? shape.columns : 1;
  }

  // Takes `steps` > 0 steps from the workspace's x; the last one writes to out.
  void run(int64_t steps, Form form, T* out) {
    const int64_t at_once = form == Form::kGram ? 2 : 1;
    for (int64_t left = steps; left > 0; left -= at_once) {
      gram();
      polynomial(w_.p, w_.diagonals[0]);
      const bf16* factor = w_.p;
      const float* diagonal = w_.diagonals[0];
      if (at_once == 2 && left >= 2) {
        second_step();
        factor = w_.gram;
        diagonal = w_.diagonals[2];
      }
      apply(factor, diagonal, left <= at_once ? out : nullptr);
    }
  }

 private:
  // gram ← XXᵀ.
  void gram() { symmetric<Gram>(w_.x, w_.x, shape_.m(), w_.gram); }

  // D + p ← aI + b·gram + c·gram².
  void polynomial(bf16* p, float* diagonal) {
    base_.diagonal = diagonal;
    symmetric<Polynomial>(w_.gram, w_.gram, shape_.n(), p);
  }

  // The product of both steps' polynomials, in gram and the third diagonal.
  void second_step() {
    base_.left_diagonal = w_.diagonals[0];
    symmetric<Apply>(w_.p, w_.gram, shape_.n(), w_.spare);
    symmetric<Apply>(w_.p, w_.spare, shape_.n(), w_.gram);
    polynomial(w_.spare, w_.diagonals[1]);
    base_.left_diagonal = w_.diagonals[1];
    base_.right_diagonal = w_.diagonals[0];
    base_.diagonal = w_.diagonals[2];
    symmetric<Merge>(w_.spare, w_.p, shape_.n(), w_.gram);
  }

  // X ← (D + factor)·X; if out is not null, the result is written there.
  void apply(const bf16* factor, const float* diagonal, T* out) {
    Product p = base_;
    p.left = factor;
    p.right = w_.x;
    p.left_diagonal = diagonal;
    p.rows = p.depth = shape_.n();
    p.columns = shape_.m();
    if (out != nullptr) {
      p.out = out;
      launch_product<false, Apply, T>(p, shape_.batch, processors_, stream_);
    } else {
      p.out = w_.other_x;
      launch_product<false, Apply>(p, shape_.batch, processors_, stream_);
      std::swap(w_.x, w_.other_x);
    }
  }

  template <class Epilogue>
  void symmetric(const bf16* left, const bf16* right, int depth, bf16* out) {
    Product p = base_;
    p.left = left;
    p.right = right;
    p.out = out;
    p.rows = p.columns = shape_.n();
    p.depth = depth;
    launch_product<true, Epilogue>(p, shape_.batch, processors_, stream_);
  }

  Workspace w_;
  Shape shape_;
  Product base_{};
  int processors_;
  cudaStream_t stream_;
};

// out ← the polynomial applied `steps` times to x; both contiguous, (batch, rows, columns). form: kDirect or
// kGram. memory: workspace_bytes(shape), aligned to 256. processors: multiprocessors of the device.
template <class T>
void launch_newton_schulz(const T* x, T* out, void* memory, const Shape& shape, int64_t steps,
                          const float (&coefficients)[3], Form form, int processors, cudaStream_t stream) {
  const Workspace w(memory, shape);
  if (steps == 0) {
    const Scaling same{shape.rows, shape.columns, shape.rows, shape.columns, false};
    launch_scale(x, out, w.partials, shape.batch, same, stream);
    return;
  }
  const Scaling padded{shape.rows, shape.columns, shape.n(), shape.m(), shape.tall()};
  launch_scale(x, w.x, w.partials, shape.batch, padded, stream);
  Iteration<T>(w, shape, coefficients, processors, stream).run(steps, form, out);
}

template void launch_newton_schulz(const float*, float*, void*, const Shape&, int64_t, const float (&)[3],
                                   Form, int, cudaStream_t);
template void launch_newton_schulz(const bf16*, bf16*, void*, const Shape&, int64_t, const float (&)[3], Form,
                                   int, cudaStream_t);

}  // namespace arsbench::newton_schulz_cuda
