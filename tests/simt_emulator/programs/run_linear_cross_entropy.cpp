// All kernels of linear_cross_entropy on two OS threads, for the sanitizers, against softmax in double.
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "linear_cross_entropy/linear_cross_entropy_kernel.cuh"

namespace {

using namespace arsbench::linear_cross_entropy_cuda;

constexpr int64_t kIgnored = -100;
bool right = true;

void check(const char* what, double value, double expected, double tolerance) {
  if (std::abs(value - expected) <= tolerance * (1 + std::abs(expected))) return;
  right = false;
  std::printf("%s is %g, not %g\n", what, value, expected);
}

void from_float(float value, float* to) { *to = value; }
void from_float(float value, bf16* to) { *to = __float2bfloat16_rn(value); }

template <class T>
void run(int count, int vocabulary, size_t shared_bytes) {
  const int64_t vectors = (vocabulary + Vector<T>::kElements - 1) / Vector<T>::kElements;
  const int64_t stride = vectors * Vector<T>::kElements;
  // The memory ends with the last row, at a multiple of 16 bytes.
  T* logits = static_cast<T*>(std::aligned_alloc(16, count * stride * sizeof(T)));
  std::vector<double> values(count * stride);
  std::vector<int64_t> target(count);
  std::vector<float> loss(count), entropy(count);
  std::mt19937 generator(vocabulary);
  std::normal_distribution<float> draw(0, 2);
  for (int64_t i = 0; i < count * stride; ++i) {
    from_float(draw(generator), logits + i);
    values[i] = Vector<T>::load(logits + i);
  }
  for (int row = 0; row < count; ++row) target[row] = row % 3 == 1 ? kIgnored : row * 7 % vocabulary;

  float kept = NAN, factor = NAN;
  launch_count_kept(target.data(), count, kIgnored, &kept, &factor, nullptr);
  const Rows<T> rows{logits,   target.data(), loss.data(), entropy.data(), &factor, stride,
                     kIgnored, vocabulary,    true};
  launch_softmax_rows(rows, count, shared_bytes, nullptr);

  check("the number of kept targets", kept, count - (count + 1) / 3, 0);
  for (int row = 0; row < count; ++row) {
    const double* x = &values[row * stride];
    double sum = 0, weighted = 0;
    for (int j = 0; j < vocabulary; ++j) {
      sum += std::exp(x[j]);
      weighted += std::exp(x[j]) * x[j];
    }
    check("entropy", entropy[row], std::log(sum) - weighted / sum, 1e-5);
    const bool ignored = target[row] == kIgnored;
    check("loss", loss[row], ignored ? 0 : std::log(sum) - x[target[row]], 1e-5);
    for (int j = 0; j < vocabulary; ++j) {
      const double gradient = ignored ? 0 : (std::exp(x[j]) / sum - (j == target[row])) / kept;
      check("gradient", Vector<T>::load(logits + row * stride + j), gradient, 4e-3);
    }
  }
  std::free(logits);
}

}  // namespace

int main() {
  simt::config().threads = 2;
  simt::config().cp_async = 1;
  for (const size_t shared_bytes : {size_t{227} << 10, size_t{0}}) {
    run<float>(4, 17, shared_bytes);
    run<bf16>(4, 17, shared_bytes);
    run<float>(3, 40479, shared_bytes);
    run<bf16>(3, 40479, shared_bytes);
  }
  return right ? 0 : 1;
}
