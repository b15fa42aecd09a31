// All kernels of newton_schulz on two OS threads, for the sanitizers, against the polynomial in double, on
// odd shapes.
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "newton_schulz/newton_schulz_kernel.cuh"

namespace {

using namespace arsbench::newton_schulz_cuda;

constexpr float kCoefficients[3] = {3.4445f, -4.7750f, 2.0315f};

using Matrix = std::vector<double>;

// left (n, k) · right (k, m), or · rightᵀ with right (m, k).
Matrix product(const Matrix& left, const Matrix& right, int n, int m, int k, bool transposed) {
  Matrix out(n * m);
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < m; ++j)
      for (int l = 0; l < k; ++l)
        out[i * m + j] += left[i * k + l] * (transposed ? right[j * k + l] : right[l * m + j]);
  return out;
}

Matrix expected(const double* x, int rows, int columns, int steps) {
  double squares = 0;
  for (int i = 0; i < rows * columns; ++i) squares += x[i] * x[i];
  const bool tall = rows > columns;
  const int n = tall ? columns : rows, m = tall ? rows : columns;
  Matrix X(n * m), out(n * m);
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < m; ++j)
      X[i * m + j] = (tall ? x[j * columns + i] : x[i * columns + j]) / (std::sqrt(squares) + kNormEps);
  for (int step = 0; step < steps; ++step) {
    const Matrix A = product(X, X, n, n, m, true);
    Matrix P = product(A, A, n, n, n, false);
    for (int i = 0; i < n * n; ++i)
      P[i] = kCoefficients[1] * A[i] + kCoefficients[2] * P[i] + (i % (n + 1) == 0 ? kCoefficients[0] : 0);
    X = product(P, X, n, m, n, false);
  }
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < m; ++j) (tall ? out[j * columns + i] : out[i * columns + j]) = X[i * m + j];
  return out;
}

template <class T>
bool run(const Shape& shape, int steps, Form form, int processors) {
  const size_t elements = size_t(shape.rows) * shape.columns;
  std::mt19937 generator(shape.rows);
  std::normal_distribution<float> draw;
  std::vector<T> x(elements * shape.batch), out(x.size());
  std::vector<double> values(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    store(&x[i], draw(generator));
    values[i] = to_double(x[i]);
  }
  const size_t bytes = workspace_bytes(shape);
  char* memory = static_cast<char*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  std::memset(memory, 0xff, bytes);
  launch_newton_schulz(x.data(), out.data(), memory, shape, steps, kCoefficients, form, processors, nullptr);
  std::free(memory);
  double error = 0, norm = 0;
  for (int matrix = 0; matrix < shape.batch; ++matrix) {
    const Matrix truth = expected(&values[matrix * elements], shape.rows, shape.columns, steps);
    for (size_t i = 0; i < elements; ++i) {
      const double difference = to_double(out[matrix * elements + i]) - truth[i];
      error += difference * difference;
      norm += truth[i] * truth[i];
    }
  }
  // bf16 has 8 bits; each step adds to the error.
  const bool right = std::sqrt(error / norm) < 0.02;
  if (!right)
    std::printf("%d matrices of (%d, %d), %d steps, form %d: error %g\n", shape.batch, shape.rows,
                shape.columns, steps, static_cast<int>(form), std::sqrt(error / norm));
  return right;
}

}  // namespace

int main() {
  simt::config().threads = 2;
  simt::config().cp_async = 1;
  bool right = true;
  for (const Form form : {Form::kDirect, Form::kGram}) {
    // One multiprocessor selects tiles of 128, many select tiles of 64.
    right &= run<float>({1, 130, 135}, 2, form, 1);
    right &= run<__nv_bfloat16>({1, 139, 131}, 1, form, 1);
    right &= run<float>({2, 71, 100}, 2, form, 1 << 20);
    right &= run<__nv_bfloat16>({2, 90, 67}, 3, form, 1 << 20);
    right &= run<float>({3, 33, 17}, 0, form, 1);
  }
  return right ? 0 : 1;
}
