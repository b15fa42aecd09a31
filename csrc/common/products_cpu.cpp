#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>

#include <cmath>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "multiply_adds.h"
#include "panels.h"
#include "products.h"
#include "vector_level.h"

namespace arsbench {
namespace {

using at::Tensor;

bool is_amd() {
#if defined(__x86_64__)
  return __builtin_cpu_is("amd");
#else
  return false;
#endif
}

// The library that the environment selects, if any.
std::optional<Library> selected() {
  static const std::optional<Library> library = []() -> std::optional<Library> {
    const char* wanted = std::getenv("ARSBENCH_PRODUCTS");
    if (wanted == nullptr || *wanted == '\0') return std::nullopt;
    for (Library candidate : {Library::panels, Library::mkl, Library::onednn})
      if (std::string(wanted) == name_of(candidate)) {
        TORCH_CHECK(candidate != Library::onednn || at::globalContext().hasMKLDNN(),
                    "ARSBENCH_PRODUCTS is \"onednn\", which this torch lacks; unset it");
        return candidate;
      }
    TORCH_CHECK(false, "ARSBENCH_PRODUCTS must be panels, mkl or onednn, not \"", wanted, "\"");
  }();
  return library;
}

// The kernel of bfloat16 panels on this machine.
Bfloat16Kernel bfloat16_kernel() {
  if (is_supported(Bfloat16Kernel::tiles)) return Bfloat16Kernel::tiles;
  return is_amd() && is_supported(Bfloat16Kernel::pairs) ? Bfloat16Kernel::pairs : Bfloat16Kernel::widened;
}

// Products smaller than this many multiply-adds are not shared between threads.
constexpr int64_t kSharedWork = int64_t{1} << 19;
// Rows or columns that threads share in; a multiple of every tile's columns.
constexpr int64_t kUnit = 32;

template <class T>
Matrix<T> matrix_of(const Tensor& x) {
  return {static_cast<T*>(x.data_ptr()), x.size(0), x.size(1), x.stride(0), x.stride(1)};
}

// Part `part` of `parts` of a product: equal shares of the longer side of c, or of its lower triangle's area.
template <class T, class C>
Product<T, C> share(const Product<T, C>& whole, int64_t part, int64_t parts) {
  const bool by_rows = whole.lower || whole.c.rows >= whole.c.columns;
  const int64_t size = by_rows ? whole.c.rows : whole.c.columns, units = (size + kUnit - 1) / kUnit;
  const auto border = [&](int64_t index) {
    const double fraction = static_cast<double>(index) / static_cast<double>(parts);
    const double position = whole.lower ? std::sqrt(fraction) : fraction;
    return std::min<int64_t>(size, std::llround(position * static_cast<double>(units)) * kUnit);
  };
  const int64_t begin = border(part), count = border(part + 1) - begin;
  Product<T, C> piece = whole;
  if (by_rows) {
    piece.a = whole.a.block(begin, 0, count, whole.a.columns);
    piece.c = whole.c.block(begin, 0, count, whole.c.columns);
    if (whole.lower) {  // up to the diagonal of its last row
      piece.b = whole.b.block(0, 0, whole.b.rows, begin + count);
      piece.c.columns = begin + count;
      piece.first_row = begin;
    }
  } else {
    piece.b = whole.b.block(0, begin, whole.b.rows, count);
    piece.c = whole.c.block(0, begin, whole.c.rows, count);
  }
  if (whole.addend != nullptr) piece.addend = whole.addend + (piece.c.data - whole.c.data);
  return piece;
}

template <class T, class C>
void multiply_panels(const Tensor& out, const Tensor& a, const Tensor& b, Scaling scaling,
                     const Tensor& addend, bool lower) {
  Product<T, C> whole{matrix_of<const T>(a), matrix_of<const T>(b), matrix_of<C>(out)};
  whole.alpha = static_cast<float>(scaling.product), whole.beta = static_cast<float>(scaling.addend);
  if (scaling.addend != 0) whole.addend = static_cast<const C*>(addend.const_data_ptr());
  whole.lower = lower;
  whole.kernel = bfloat16_kernel();
  const int64_t work = out.numel() * std::max<int64_t>(1, a.size(1));
  const int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  const int64_t parts = std::max<int64_t>(1, std::min(threads, work / kSharedWork));
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) multiply(share(whole, part, parts));
  });
}

void multiply_mkl(const Tensor& out, const Tensor& a, const Tensor& b, Scaling scaling,
                  const Tensor& addend) {
  Tensor result = out;
  if (scaling.addend == 0 && scaling.product == 1)
    at::mm_out(result, a, b);
  else
    at::addmm_out(result, scaling.addend == 0 ? out : addend, a, b, scaling.addend, scaling.product);
}

// oneDNN's inner product a·wᵀ, as the operator that torch's compiler calls; it allocates its result.
Tensor onednn_product(const Tensor& a, const Tensor& b) {
  using Signature = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, c10::string_view,
                           c10::List<std::optional<at::Scalar>>, std::optional<c10::string_view>);
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Signature>();
  return op.call(a, b.t(), std::nullopt, "none", c10::List<std::optional<at::Scalar>>(), "");
}

void multiply_any(const Tensor& out, const Tensor& a, const Tensor& b, Scaling scaling, const Tensor& addend,
                  bool lower) {
  if (out.numel() == 0) return;
  const at::ScalarType dtype = a.scalar_type();
  const Library library = library_for(dtype);
  if (library == Library::panels) {
    const auto run = dtype == at::kFloat               ? multiply_panels<float, float>
                     : out.scalar_type() == at::kFloat ? multiply_panels<BFloat16, float>
                                                       : multiply_panels<BFloat16, BFloat16>;
    return run(out, a, b, scaling, addend, lower);
  }
  if (library == Library::mkl && out.scalar_type() == dtype) return multiply_mkl(out, a, b, scaling, addend);
  // A sum is rounded once: where out is bfloat16, the product is computed in float32.
  const bool widened = scaling.addend != 0 && out.scalar_type() == at::kBFloat16;
  const Tensor left = widened ? a.to(at::kFloat) : a, right = widened ? b.to(at::kFloat) : b;
  Tensor result, into = out;
  if (library == Library::onednn && a.size(1) != 0) {
    result = onednn_product(left, right);
  } else {
    result = at::empty(out.sizes(), left.options());
    multiply_mkl(result, left, right, {}, {});
  }
  if (scaling.addend == 1 && !widened && into.is_same(addend)) {
    into.add_(result, scaling.product);
    return;
  }
  if (scaling.product != 1) result.mul_(scaling.product);
  if (scaling.addend != 0) result = result.add(addend, scaling.addend);
  into.copy_(result);
}

}  // namespace

const char* name_of(Library library) {
  return library == Library::panels ? "panels" : library == Library::mkl ? "mkl" : "onednn";
}

Library library_for(at::ScalarType dtype) {
  if (dtype != at::kFloat && dtype != at::kBFloat16) return Library::mkl;
  if (selected()) return *selected();
  if (dtype == at::kBFloat16)
    return bfloat16_kernel() == Bfloat16Kernel::widened ? Library::mkl : Library::panels;
  return is_amd() && vector_level() == VectorLevel::avx512 ? Library::panels : Library::mkl;
}

bool bfloat16_products() {
  static const bool chosen = [] {
    const char* wanted = std::getenv("ARSBENCH_BF16_PRODUCTS");
    if (wanted != nullptr && *wanted != '\0') {
      TORCH_CHECK(std::string(wanted) == "0" || std::string(wanted) == "1",
                  "ARSBENCH_BF16_PRODUCTS must be 0 or 1, not \"", wanted, "\"");
      return *wanted == '1';
    }
#if defined(__x86_64__)
    return static_cast<bool>(__builtin_cpu_supports("avx512bf16"));
#else
    return false;
#endif
  }();
  return chosen;
}

double multiply_adds(at::ScalarType dtype, int64_t rounds) {
  const Bfloat16Kernel kernel = dtype == at::kBFloat16 ? bfloat16_kernel() : Bfloat16Kernel::widened;
  std::vector<double> flops(at::get_num_threads());
  at::parallel_for(0, static_cast<int64_t>(flops.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) flops[i] = multiply_adds(kernel, rounds);
  });
  return std::accumulate(flops.begin(), flops.end(), 0.0);
}

void multiply(const Tensor& out, const Tensor& a, const Tensor& b, Scaling scaling, const Tensor& addend) {
  multiply_any(out, a, b, scaling, addend, false);
}

void multiply_lower(const Tensor& out, const Tensor& a, const Tensor& b, Scaling scaling,
                    const Tensor& addend) {
  // The libraries compute no triangle: bands of rows, each up to the diagonal.
  const int64_t size = out.size(0);
  if (library_for(a.scalar_type()) == Library::panels) return multiply_any(out, a, b, scaling, addend, true);
  // Eight bands compute 9/16 of the full product. Below this size one full product is faster.
  constexpr int64_t kBands = 8, kSmallestBanded = 256;
  const int64_t bands = size < kSmallestBanded ? 1 : kBands;
  for (int64_t band = 0; band < bands; ++band) {
    const int64_t first = size * band / bands, last = size * (band + 1) / bands;
    const auto rows_of = [&](const Tensor& x) { return x.narrow(0, first, last - first); };
    multiply_any(rows_of(out).narrow(1, 0, last), rows_of(a), b.narrow(1, 0, last), scaling,
                 addend.defined() ? rows_of(addend).narrow(1, 0, last) : addend, false);
  }
}

}  // namespace arsbench
