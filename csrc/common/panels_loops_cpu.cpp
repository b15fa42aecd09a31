// A product is cut into blocks for the caches: panels of `a` of up to 2 MiB, reused for all of b; panels of b
// of 512 KiB, which stay in a core's second-level cache while all panels of `a` pass by; one panel of `a` in
// the first-level cache, of 28 KiB for AVX-512. Tiles go through a small buffer, where the epilogue reads
// them.
#include "panels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

#include "loops.h"
#include "micro_kernel.h"
#include "packing.h"

namespace arsbench {
namespace {

constexpr std::int64_t kLongestSum = 512;  // words
constexpr std::int64_t kRowsBytes = 2 << 20, kColumnsBytes = 512 << 10, kSumsBytes = 4 << 20;
constexpr std::int64_t kWordBytes = 4, kAlignment = 64;

#if defined(__x86_64__)
// Linux enables the tile registers for a process that asks for them.
bool may_use_tiles() {
#if defined(__linux__)
  unsigned int a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  constexpr unsigned int kBfloat16 = 1u << 22, kTile = 1u << 24;
  if ((d & kBfloat16) == 0 || (d & kTile) == 0) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

// Memory of a thread that is kept between products.
class Workspace {
 public:
  float* of(std::int64_t words) {
    if (words > size_) {
      // An alignment's worth of slack: packing writes whole vectors.
      const std::int64_t bytes = (words * kWordBytes + 2 * kAlignment - 1) / kAlignment * kAlignment;
      memory_.reset(static_cast<float*>(std::aligned_alloc(kAlignment, bytes)));
      size_ = memory_ ? words : 0;
      if (!memory_) throw std::bad_alloc();
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(float* memory) const { std::free(memory); }
  };
  std::unique_ptr<float, Free> memory_;
  std::int64_t size_ = 0;
};

struct Workspaces {
  Workspace a, b, sums;
};

// Not inlined: code for one vector level could not share the variable's initialisation.
__attribute__((noinline)) Workspaces& workspaces() {
  static thread_local Workspaces of_thread;
  return of_thread;
}

// The size of equal parts, as few as possible, of at most `most`, in multiples of `unit`.
constexpr std::int64_t equal_part(std::int64_t size, std::int64_t most, std::int64_t unit) {
  const std::int64_t limit = std::max<std::int64_t>(1, most / unit) * unit;
  const std::int64_t parts = std::max<std::int64_t>(1, (size + limit - 1) / limit);
  return std::max<std::int64_t>(1, (size + parts * unit - 1) / (parts * unit)) * unit;
}

// out ← alpha·tile + beta·before, for a tile with rows of WIDTH; without the second term if `before` is null.
template <std::int64_t WIDTH, class Out, class Before>
ARSBENCH_INLINE void write_tile(const float* tile, float alpha, float beta, std::int64_t rows,
                                std::int64_t columns, Out* out, std::int64_t out_stride, const Before* before,
                                std::int64_t before_stride) {
  for (std::int64_t i = 0; i < rows; ++i, tile += WIDTH, out += out_stride) {
    if (before == nullptr) {
      ARSBENCH_INDEPENDENT
      for (std::int64_t j = 0; j < columns; ++j) store(out[j], alpha * tile[j]);
    } else {
      ARSBENCH_INDEPENDENT
      for (std::int64_t j = 0; j < columns; ++j) store(out[j], alpha * tile[j] + beta * load(before[j]));
      before += before_stride;
    }
  }
}

template <class T>
ARSBENCH_INLINE void prefetch_tile(const T* at, std::int64_t stride, std::int64_t rows,
                                   std::int64_t columns) {
  constexpr std::int64_t kLine = 64 / sizeof(T);
  for (std::int64_t i = 0; i < rows; ++i, at += stride)
    for (std::int64_t j = 0; j < columns; j += kLine) __builtin_prefetch(at + j);
}

template <class Kernel, class T, class C>
ARSBENCH_INLINE void multiply_blocks(const Product<T, C>& product) {
  using Unit = typename Kernel::Unit;
  constexpr std::int64_t ROWS = Kernel::ROWS, COLUMNS = Kernel::COLUMNS;
  const Matrix<const T>&a = product.a, &b = product.b;
  const Matrix<C>& c = product.c;
  const std::int64_t K = a.columns;
  const std::int64_t depth = equal_part(K, kLongestSum * Unit::kDepth, Kernel::kWords * Unit::kDepth);
  const std::int64_t words = depth / Unit::kDepth;
  // Unfinished sums: c itself if it is float32.
  const bool separate_sums = !std::is_same_v<C, float> && K > depth;
  std::int64_t most_rows = kRowsBytes / kWordBytes / words;
  if (separate_sums) most_rows = std::min(most_rows, kSumsBytes / kWordBytes / c.columns);
  const std::int64_t height = equal_part(c.rows, most_rows, ROWS);
  const std::int64_t width = equal_part(c.columns, kColumnsBytes / kWordBytes / words, COLUMNS);
  float* panels_a = workspaces().a.of(height * words);
  float* panels_b = workspaces().b.of(width * words);
  Matrix<float> sums{separate_sums ? workspaces().sums.of(height * c.columns) : nullptr, height, c.columns,
                     c.columns, 1};
  alignas(kAlignment) float tile[ROWS * COLUMNS];
  for (std::int64_t top = 0; top < c.rows; top += height) {
    const std::int64_t rows = std::min(height, c.rows - top);
    if constexpr (std::is_same_v<C, float>) sums = c.block(top, 0, rows, c.columns);
    for (std::int64_t begin = 0; begin == 0 || begin < K; begin += depth) {
      const std::int64_t length = std::min(depth, K - begin);
      const bool first = begin == 0, last = begin + depth >= K;
      for (std::int64_t i = 0; i < rows; i += ROWS) {
        const Source<T> source{a.at(top + i, begin), a.row_stride, a.column_stride, length, rows - i};
        if constexpr (Kernel::kRowsInTiles)
          pack_tiles<Kernel::W, ROWS, Unit>(source, words, panels_a + i * words);
        else
          pack_panel<Kernel::W, ROWS, Unit>(source, words, panels_a + i * words);
      }
      for (std::int64_t left = 0; left < c.columns; left += width) {
        if (product.lower && left >= product.first_row + top + rows) break;
        const std::int64_t columns = std::min(width, c.columns - left);
        for (std::int64_t j = 0; j < columns; j += COLUMNS) {
          const Source<T> source{b.at(begin, left + j), b.column_stride, b.row_stride, length, columns - j};
          pack_panel<Kernel::W, COLUMNS, Unit>(source, words, panels_b + j * words);
        }
        for (std::int64_t i = 0; i < rows; i += ROWS)
          for (std::int64_t j = 0; j < columns; j += COLUMNS) {
            if (product.lower && left + j >= product.first_row + top + i + ROWS) break;
            const std::int64_t tile_rows = std::min(ROWS, rows - i);
            const std::int64_t tile_columns = std::min(COLUMNS, columns - j);
            float* sum = sums.at(i, left + j);
            C* out = c.at(top + i, left + j);
            const C* addend =
                product.beta == 0 ? nullptr : product.addend + (top + i) * c.row_stride + left + j;
            if (!first)
              prefetch_tile(sum, sums.row_stride, tile_rows, tile_columns);
            else if (addend != nullptr)
              prefetch_tile(addend, c.row_stride, tile_rows, tile_columns);
            Kernel::multiply(words, panels_a + i * words, panels_b + j * words, tile);
            const auto finish = [&](std::int64_t count) __attribute__((always_inline)) {
              const auto write_to = [&](auto* to, std::int64_t stride) __attribute__((always_inline)) {
                if (first)
                  write_tile<COLUMNS>(tile, product.alpha, product.beta, tile_rows, count, to, stride, addend,
                                      c.row_stride);
                else
                  write_tile<COLUMNS>(tile, product.alpha, 1, tile_rows, count, to, stride, sum,
                                      sums.row_stride);
              };
              last ? write_to(out, c.row_stride) : write_to(sum, sums.row_stride);
            };
            // A constant width is vectorised better.
            tile_columns == COLUMNS ? finish(COLUMNS) : finish(tile_columns);
          }
      }
    }
  }
}

template <VectorLevel level>
struct Multiply {
  template <class T, class C>
  static ARSBENCH_INLINE void run(const Product<T, C>* product) {
#if defined(__x86_64__)
    if constexpr (level == VectorLevel::avx512 && std::is_same_v<T, BFloat16>) {
      if (product->kernel == Bfloat16Kernel::pairs) return multiply_blocks<PairsKernel>(*product);
      if (product->kernel == Bfloat16Kernel::tiles) {
        const TilesKernel::Registers configured;
        return multiply_blocks<TilesKernel>(*product);
      }
    }
#endif
    multiply_blocks<KernelOf<level>>(*product);
  }
};

}  // namespace

bool is_supported(Bfloat16Kernel kernel) {
  if (kernel == Bfloat16Kernel::widened) return true;
#if defined(__x86_64__)
  if (vector_level() != VectorLevel::avx512) return false;
  if (kernel == Bfloat16Kernel::pairs) return __builtin_cpu_supports("avx512bf16");
  static const bool tiles = may_use_tiles();
  return tiles;
#else
  return false;
#endif
}

template <class T, class C>
void multiply(const Product<T, C>& product) {
  if (product.c.rows == 0 || product.c.columns == 0) return;  // a share of a small product may be empty
  if (product.c.column_stride == 1) {
    run_at_widest<Multiply>(&product);
    return;
  }
  Product<T, C> transposed = product;
  transposed.a = product.b.transposed(), transposed.b = product.a.transposed();
  transposed.c = product.c.transposed();
  run_at_widest<Multiply>(&transposed);
}

template void multiply(const Product<float, float>&);
template void multiply(const Product<BFloat16, float>&);
template void multiply(const Product<BFloat16, BFloat16>&);

}  // namespace arsbench
