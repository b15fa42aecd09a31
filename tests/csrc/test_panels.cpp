// Matrix products by panels against plain loops in double.
#include <cmath>
#include <type_traits>
#include <vector>

#include "check.h"
#include "common/panels.h"
#include "random_values.h"

using namespace arsbench;

namespace {

enum class Order { rows, columns };

// A matrix with one element between its rows (or columns) that does not belong to it.
template <class T>
Matrix<T> matrix(T* data, std::int64_t rows, std::int64_t columns, Order order) {
  return order == Order::rows ? Matrix<T>{data, rows, columns, columns + 1, 1}
                              : Matrix<T>{data, rows, columns, 1, rows + 1};
}

struct Sizes {
  std::int64_t rows, columns, length;
};

struct Case {
  std::int64_t rows, columns, length;
  Order a, b, c;
  float alpha, beta;
  bool lower;
  Bfloat16Kernel kernel;
};

template <class T, class C>
void test_product(const Case& t) {
  const auto values_a = random_values<T>((t.rows + 1) * (t.length + 1), 1);
  const auto values_b = random_values<T>((t.columns + 1) * (t.length + 1), 2);
  const auto before = random_values<C>((t.rows + 1) * (t.columns + 1), 3);
  auto result = before;
  Product<T, C> product{matrix(values_a.data(), t.rows, t.length, t.a),
                        matrix(values_b.data(), t.length, t.columns, t.b),
                        matrix(result.data(), t.rows, t.columns, t.c)};
  product.alpha = t.alpha, product.beta = t.beta, product.lower = t.lower, product.kernel = t.kernel;
  if (t.beta != 0) product.addend = result.data();
  multiply(product);
  std::vector<bool> written(result.size());
  for (std::int64_t i = 0; i < t.rows; ++i)
    for (std::int64_t j = 0; j < t.columns; ++j) {
      const std::int64_t at = i * product.c.row_stride + j * product.c.column_stride;
      written[at] = true;
      if (t.lower && j > i) continue;
      double sum = 0, magnitude = 0;
      for (std::int64_t p = 0; p < t.length; ++p) {
        const double term = static_cast<double>(load(
                                product.a.data[i * product.a.row_stride + p * product.a.column_stride])) *
                            load(product.b.data[p * product.b.row_stride + j * product.b.column_stride]);
        sum += term;
        magnitude += std::abs(term);
      }
      const double start = t.beta == 0 ? 0 : t.beta * load(before[at]);
      const double expected = t.alpha * sum + start;
      const double rounding = std::is_same_v<C, float> ? 0 : std::abs(expected) / 256;
      const double allowed = rounding + 1e-5 * (std::abs(t.alpha) * magnitude + std::abs(start));
      CHECK(std::abs(load(result[at]) - expected) <= allowed, "(%d, %d) of %d × %d × %d is %g, not %g",
            static_cast<int>(i), static_cast<int>(j), static_cast<int>(t.rows), static_cast<int>(t.columns),
            static_cast<int>(t.length), static_cast<double>(load(result[at])), expected);
    }
  for (std::size_t at = 0; at < result.size(); ++at)
    CHECK(written[at] || load(result[at]) == load(before[at]), "element %d between the rows is overwritten",
          static_cast<int>(at));
}

template <class T, class C>
void test_sizes(Bfloat16Kernel kernel) {
  for (Order a : {Order::rows, Order::columns})
    for (Order b : {Order::rows, Order::columns}) {
      for (const auto [rows, columns, length] :
           {Sizes{1, 1, 1}, {13, 31, 15}, {14, 32, 16}, {15, 33, 33}, {29, 70, 257}, {3, 5, 1000}})
        for (Order c : {Order::rows, Order::columns})
          test_product<T, C>({rows, columns, length, a, b, c, 1, 0, false, kernel});
      test_product<T, C>({45, 66, 64, a, b, Order::columns, -0.5f, 0, false, kernel});
      test_product<T, C>({45, 66, 64, a, b, Order::rows, 2, 1, false, kernel});
      test_product<T, C>({61, 61, 40, a, b, Order::rows, 1, -3, true, kernel});
    }
  for (const auto [rows, columns, length] : {Sizes{0, 5, 5}, {5, 0, 5}, {5, 7, 0}, {5, 0, 3000}})
    test_product<T, C>(
        {rows, columns, length, Order::rows, Order::rows, Order::rows, 1, 0.5f, false, kernel});
}

// More than one block in every dimension.
template <class T>
void test_blocks(Bfloat16Kernel kernel) {
  test_product<T, float>({20, 530, 2100, Order::rows, Order::columns, Order::rows, 1, 1, false, kernel});
  test_product<T, float>({2100, 40, 515, Order::columns, Order::rows, Order::columns, 1, 0, false, kernel});
  test_product<T, float>({1300, 1300, 30, Order::rows, Order::rows, Order::rows, 1, 0, true, kernel});
}

// A part of c has the same bits when it is computed alone.
template <class T>
void test_parts(Bfloat16Kernel kernel) {
  constexpr std::int64_t kRows = 90, kColumns = 130, kLength = 1111;
  const auto a = random_values<T>(kRows * kLength, 1), b = random_values<T>(kColumns * kLength, 2);
  std::vector<float> whole(kRows * kColumns), parts(whole.size());
  Product<T, float> product{{a.data(), kRows, kLength, kLength, 1},
                            {b.data(), kLength, kColumns, 1, kLength},
                            {whole.data(), kRows, kColumns, kColumns, 1}};
  product.kernel = kernel;
  multiply(product);
  for (std::int64_t row : {0, 37}) {
    const std::int64_t rows = row == 0 ? 37 : kRows - 37;
    for (std::int64_t column : {0, 41}) {
      const std::int64_t columns = column == 0 ? 41 : kColumns - 41;
      Product<T, float> part = product;
      part.a = product.a.block(row, 0, rows, kLength);
      part.b = product.b.block(0, column, kLength, columns);
      part.c = Matrix<float>{parts.data(), kRows, kColumns, kColumns, 1}.block(row, column, rows, columns);
      multiply(part);
    }
  }
  CHECK(whole == parts, "parts differ from the whole");
}

// The lower triangle in two shares of rows.
template <class T>
void test_lower_parts(Bfloat16Kernel kernel) {
  constexpr std::int64_t kSize = 150, kLength = 20, kFirst = 64;
  const auto a = random_values<T>(kSize * kLength, 1);
  std::vector<float> whole(kSize * kSize), parts(whole.size());
  Product<T, float> product{{a.data(), kSize, kLength, kLength, 1},
                            {a.data(), kLength, kSize, 1, kLength},
                            {whole.data(), kSize, kSize, kSize, 1}};
  product.kernel = kernel;
  multiply(product);
  product.lower = true;
  for (std::int64_t row : {std::int64_t{0}, kFirst}) {
    const std::int64_t rows = row == 0 ? kFirst : kSize - kFirst;
    Product<T, float> part = product;
    part.a = product.a.block(row, 0, rows, kLength);
    part.c = Matrix<float>{parts.data(), kSize, kSize, kSize, 1}.block(row, 0, rows, kSize);
    part.first_row = row;
    multiply(part);
  }
  for (std::int64_t i = 0; i < kSize; ++i)
    for (std::int64_t j = 0; j <= i; ++j)
      CHECK(whole[i * kSize + j] == parts[i * kSize + j], "(%d, %d)", static_cast<int>(i),
            static_cast<int>(j));
}

void test_all() {
  test_sizes<float, float>(Bfloat16Kernel::widened);
  test_blocks<float>(Bfloat16Kernel::widened);
  test_parts<float>(Bfloat16Kernel::widened);
  test_lower_parts<float>(Bfloat16Kernel::widened);
  for (Bfloat16Kernel kernel : {Bfloat16Kernel::widened, Bfloat16Kernel::pairs, Bfloat16Kernel::tiles}) {
    if (!is_supported(kernel)) continue;
    std::printf("bfloat16 kernel %d\n", static_cast<int>(kernel));
    test_sizes<BFloat16, float>(kernel);
    test_sizes<BFloat16, BFloat16>(kernel);
    test_blocks<BFloat16>(kernel);
    test_parts<BFloat16>(kernel);
    test_lower_parts<BFloat16>(kernel);
  }
}

}  // namespace

int main() { return run_tests(test_all); }
