// All kernels of rope_attention on two OS threads, for the sanitizers, against the formulas in double:
// partial tiles, grouped heads, strided rows.
#include <cmath>
#include <cstdio>
#include <random>
#include <type_traits>
#include <vector>

#include "rope_attention/rope_attention_kernel.cuh"

namespace {

using namespace arsbench::rope_attention_cuda;

constexpr double kEps = 1e-6, kTheta = 10000;
int failures = 0;

std::mt19937 generator(1);

template <class Scalar>
std::vector<Scalar> random_values(size_t n) {
  std::uniform_real_distribution<float> draw(-2, 2);
  std::vector<Scalar> values(n);
  for (Scalar& value : values) from_float(value, draw(generator));
  return values;
}

// The root mean square of got − expected, relative to that of expected, must be at most the tolerance.
template <class Scalar>
void check(const char* what, const std::vector<Scalar>& got, const std::vector<double>& expected,
           double tolerance) {
  double error = 0, size = 1e-30;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = to_float(got[i]) - expected[i];
    error += difference * difference;
    size += expected[i] * expected[i];
  }
  if (std::sqrt(error / size) <= tolerance) return;  // false for a NaN
  ++failures;
  std::printf("%s is wrong: relative error %g\n", what, std::sqrt(error / size));
}

// Queries, keys and values are views of one projection (B, T, (H + 2·Hkv)·D); all other tensors are
// contiguous.
template <class Products, int D>
struct Problem {
  using Scalar = typename Products::Scalar;
  int B, T, H, Hkv, heads;
  double scale;
  std::vector<Scalar> projection, grad_out, out, grad_q, grad_k, grad_v;
  std::vector<float> q_weight, k_weight, cos, sin, lse, grad_q_weight, grad_k_weight;

  Problem(int B, int T, int H, int Hkv)
      : B(B), T(T), H(H), Hkv(Hkv), heads(H + 2 * Hkv), scale(1 / std::sqrt(double(D))) {
    projection = random_values<Scalar>(size_t(B) * T * heads * D);
    grad_out = random_values<Scalar>(size_t(B) * T * H * D);
    q_weight = random_values<float>(D);
    k_weight = random_values<float>(D);
    Scalar nothing;
    from_float(nothing, NAN);
    out = grad_q = std::vector<Scalar>(grad_out.size(), nothing);
    grad_k = grad_v = std::vector<Scalar>(size_t(B) * T * Hkv * D, nothing);
    lse.assign(size_t(B) * H * T, NAN);
    grad_q_weight = grad_k_weight = std::vector<float>(D, NAN);
    for (int t = 0; t < T; ++t)
      for (int i = 0; i < D / 2; ++i) {
        const double angle = t * std::pow(kTheta, -2.0 * i / D);
        cos.push_back(static_cast<float>(std::cos(angle)));
        sin.push_back(static_cast<float>(std::sin(angle)));
      }
  }

  HeadRows<const Scalar> rows(int first_head) const {
    return {projection.data() + first_head * D, int64_t(T) * heads * D, int64_t(heads) * D, D};
  }
  Preparation preparation() const {
    return {q_weight.data(), k_weight.data(), cos.data(), sin.data(), static_cast<float>(kEps)};
  }

  void run_forward() {
    const ForwardArguments<Scalar> arguments{{B, T, H, Hkv}, rows(0),    rows(H),    rows(H + Hkv),
                                             preparation(),  out.data(), lse.data(), float(scale)};
    forward<Products, D>(arguments, nullptr);
  }

  void run_backward() {
    BackwardArguments<Scalar> arguments{};
    arguments.sizes = {B, T, H, Hkv};
    arguments.q = rows(0), arguments.k = rows(H), arguments.v = rows(H + Hkv);
    arguments.grad_out = contiguous_rows<const Scalar>(grad_out.data(), T, H, D);
    arguments.preparation = preparation();
    arguments.out = out.data(), arguments.lse = lse.data();
    arguments.grad_q = grad_q.data(), arguments.grad_k = grad_k.data(), arguments.grad_v = grad_v.data();
    arguments.grad_q_weight = grad_q_weight.data(), arguments.grad_k_weight = grad_k_weight.data();
    std::vector<float> workspace(Workspace<Products, D>(arguments.sizes).total(), NAN);
    arguments.workspace = workspace.data();
    arguments.scale = float(scale);
    backward<Products, D>(arguments, nullptr);
  }

  // Row t of a head of the projection.
  const Scalar* row(int b, int t, int head) const {
    return &projection[((size_t(b) * T + t) * heads + head) * D];
  }

  double inverse_rms(const Scalar* x) const {
    double squares = 0;
    for (int i = 0; i < D; ++i) squares += double(to_float(x[i])) * to_float(x[i]);
    return 1 / std::sqrt(squares / D + kEps);
  }

  void rotate(int t, double direction, std::vector<double>& x) const {
    for (int i = 0; i < D / 2; ++i) {
      const double c = cos[t * (D / 2) + i], s = direction * sin[t * (D / 2) + i], a = x[i], b = x[i + D / 2];
      x[i] = a * c - b * s;
      x[i + D / 2] = b * c + a * s;
    }
  }

  std::vector<double> prepared(int b, int t, int head, const std::vector<float>& weight) const {
    const Scalar* x = row(b, t, head);
    const double scale = inverse_rms(x);
    std::vector<double> result(D);
    for (int i = 0; i < D; ++i) result[i] = to_float(x[i]) * scale * weight[i];
    rotate(t, 1, result);
    return result;
  }

  // From the gradient of a prepared row to the gradient of the row, into grad_x, and of the weight, which is
  // added.
  void unprepare(int b, int t, int head, const std::vector<float>& weight, std::vector<double> grad,
                 double* grad_x, std::vector<double>& grad_weight) const {
    const Scalar* x = row(b, t, head);
    const double scale = inverse_rms(x);
    rotate(t, -1, grad);
    double mean = 0;
    for (int i = 0; i < D; ++i) {
      const double normalized = to_float(x[i]) * scale;
      grad_weight[i] += grad[i] * normalized;
      mean += grad[i] * weight[i] * normalized / D;
    }
    for (int i = 0; i < D; ++i) grad_x[i] = (grad[i] * weight[i] - to_float(x[i]) * scale * mean) * scale;
  }

  void check_all(bool with_gradients) {
    const size_t query_elements = grad_out.size(), key_elements = grad_k.size();
    std::vector<double> o(query_elements), l(lse.size()), dq(query_elements), dk(key_elements),
        dv(key_elements);
    std::vector<double> dqw(D), dkw(D);
    for (int b = 0; b < B; ++b) {
      for (int kv = 0; kv < Hkv; ++kv) {
        std::vector<std::vector<double>> keys, grad_keys(T, std::vector<double>(D));
        for (int t = 0; t < T; ++t) keys.push_back(prepared(b, t, H + kv, k_weight));
        for (int h = kv * (H / Hkv); h < (kv + 1) * (H / Hkv); ++h) {
          for (int t = 0; t < T; ++t) {
            const size_t at = ((size_t(b) * T + t) * H + h) * D;
            const std::vector<double> query = prepared(b, t, h, q_weight);
            std::vector<double> p(t + 1), dp(t + 1), grad_query(D);
            double sum = 0, delta = 0;
            for (int j = 0; j <= t; ++j) {
              for (int i = 0; i < D; ++i) {
                p[j] += scale * query[i] * keys[j][i];
                dp[j] += double(to_float(grad_out[at + i])) * to_float(row(b, j, H + Hkv + kv)[i]);
              }
              sum += std::exp(p[j]);
            }
            l[(size_t(b) * H + h) * T + t] = std::log(sum);
            for (int j = 0; j <= t; ++j) {
              p[j] = std::exp(p[j]) / sum;
              delta += p[j] * dp[j];
              for (int i = 0; i < D; ++i) o[at + i] += p[j] * to_float(row(b, j, H + Hkv + kv)[i]);
            }
            for (int j = 0; j <= t; ++j) {
              const double ds = scale * p[j] * (dp[j] - delta);
              for (int i = 0; i < D; ++i) {
                dv[((size_t(b) * T + j) * Hkv + kv) * D + i] += p[j] * to_float(grad_out[at + i]);
                grad_keys[j][i] += ds * query[i];
                grad_query[i] += ds * keys[j][i];
              }
            }
            unprepare(b, t, h, q_weight, grad_query, &dq[at], dqw);
          }
        }
        for (int t = 0; t < T; ++t)
          unprepare(b, t, H + kv, k_weight, grad_keys[t], &dk[((size_t(b) * T + t) * Hkv + kv) * D], dkw);
      }
    }
    const double tolerance = std::is_same_v<Products, Float32Products> ? 2e-6 : 1e-2;
    check("out", out, o, tolerance);
    check("lse", lse, l, tolerance);
    if (!with_gradients) return;
    check("grad_q", grad_q, dq, tolerance);
    check("grad_k", grad_k, dk, tolerance);
    check("grad_v", grad_v, dv, tolerance);
    check("grad_q_weight", grad_q_weight, dqw, tolerance);
    check("grad_k_weight", grad_k_weight, dkw, tolerance);
  }
};

template <class Products, int D>
void run(const char* products, int B, int T, int H, int Hkv) {
  std::printf("%s, B %d, T %d, H %d, Hkv %d, D %d\n", products, B, T, H, Hkv, D);
  Problem<Products, D> problem(B, T, H, Hkv);
  problem.run_forward();
  if constexpr (has_backward(D)) problem.run_backward();
  problem.check_all(has_backward(D));
}

void run_sums() {
  const int64_t rows = 600;
  std::vector<float> shares = random_values<float>(rows * 64), spare(3 * 64, NAN), out(64, NAN);
  std::vector<double> expected(64);
  for (int64_t i = 0; i < rows * 64; ++i) expected[i % 64] += shares[i];
  sum_rows<64>(shares.data(), spare.data(), rows, out.data(), nullptr);
  check("sums", out, expected, 2e-6);
}

}  // namespace

int main() {
  simt::config().threads = 2;
  simt::config().cp_async = 1;
  run<BFloat16Products, 64>("bf16", 2, 70, 2, 1);
  run<BFloat16Products, 256>("bf16", 1, 70, 2, 1);
  run<Float32Products, 64>("float32", 1, 70, 2, 1);
  run<Tf32Products, 64>("TF32", 1, 70, 2, 1);
#if defined(EVERY_KERNEL)  // too slow under a sanitizer, which would find nothing new
  run<BFloat16Products, 128>("bf16", 1, 65, 2, 1);
  run<Float32Products, 128>("float32", 1, 65, 2, 1);
  run<Float32Products, 256>("float32", 1, 33, 2, 1);
  run<Tf32Products, 128>("TF32", 1, 65, 2, 1);
  run<Tf32Products, 256>("TF32", 1, 33, 2, 1);
#endif
  run_sums();
  return failures > 0;
}
