// The innermost loops of a matrix product: a tile of the result stays in registers while two panels are read.
//
// A kernel has: ROWS and COLUMNS of its tile; W lanes of the vectors that pack its panels; Unit, what a
// 32-bit word of a panel holds; kWords, the number of words that a panel's depth is a multiple of;
// kRowsInTiles, how the first operand's panels are laid out; and multiply(), out[i][j] = Σ_p a[p][i]·b[p][j].
#pragma once

#include <cstdint>

#include "packing.h"
#include "vectors.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace arsbench {

// How far ahead of its use the second operand's panel is prefetched, in steps: it streams from the
// second-level cache, while the first operand's panel stays in the first.
constexpr int kAheadSteps = 8;

// For a vector level. ROWS_ × VECTORS registers and those of the operands fill the register file; they are at
// least as many as multiply-adds are in flight.
template <int W_, int ROWS_, int VECTORS>
struct VectorKernel {
  static constexpr int W = W_, ROWS = ROWS_, COLUMNS = W_ * VECTORS, kWords = 1;
  static constexpr bool kRowsInTiles = false;
  using Unit = Singles;

  static ARSBENCH_INLINE void multiply(std::int64_t words, const float* a, const float* b, float* out) {
    Vector<W> sums[ROWS][VECTORS];
#pragma GCC unroll 16
    for (auto& row : sums)
#pragma GCC unroll 4
      for (auto& sum : row) sum = Vector<W>{};
#pragma GCC unroll 1
    for (std::int64_t p = 0; p < words; ++p, a += ROWS, b += COLUMNS) {
      Vector<W> columns[VECTORS];
#pragma GCC unroll 4
      for (int j = 0; j < VECTORS; ++j) {
        read(columns[j], b + j * W);
        __builtin_prefetch(b + kAheadSteps * COLUMNS + j * W);
      }
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < VECTORS; ++j) sums[i][j] += a[i] * columns[j];
    }
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < VECTORS; ++j) write(sums[i][j], out + i * COLUMNS + j * W);
  }
};

template <VectorLevel level>
struct KernelOf;
#if defined(__aarch64__)
template <>
struct KernelOf<VectorLevel::baseline> : VectorKernel<4, 8, 3> {};  // NEON: 32 registers
#else
template <>
struct KernelOf<VectorLevel::baseline> : VectorKernel<4, 4, 2> {};  // SSE2: 16 registers
#endif
template <>
struct KernelOf<VectorLevel::avx2> : VectorKernel<8, 6, 2> {};  // 16 registers
template <>
struct KernelOf<VectorLevel::avx512> : VectorKernel<16, 14, 2> {};  // 32 registers

#if defined(__x86_64__)

// AVX-512 BF16: one instruction multiplies sixteen pairs and adds both products. These functions are not
// inlined, since the code around them is compiled without the instructions.
struct PairsKernel {
  static constexpr int W = 16, ROWS = 14, VECTORS = 2, COLUMNS = 32, kWords = 1;
  static constexpr bool kRowsInTiles = false;
  using Unit = Pairs;

  __attribute__((target("avx512f,avx512bf16"), noinline)) static void multiply(std::int64_t words,
                                                                               const float* a, const float* b,
                                                                               float* out) {
    __m512 sums[ROWS][VECTORS];
#pragma GCC unroll 16
    for (auto& row : sums)
#pragma GCC unroll 4
      for (auto& sum : row) sum = _mm512_setzero_ps();
#pragma GCC unroll 1
    for (std::int64_t p = 0; p < words; ++p, a += ROWS, b += COLUMNS) {
      __m512bh columns[VECTORS];
#pragma GCC unroll 4
      for (int j = 0; j < VECTORS; ++j) {
        columns[j] = (__m512bh)_mm512_loadu_ps(b + j * W);
        __builtin_prefetch(b + kAheadSteps * COLUMNS + j * W);
      }
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; ++i) {
        const __m512bh row = (__m512bh)_mm512_set1_ps(a[i]);
#pragma GCC unroll 4
        for (int j = 0; j < VECTORS; ++j) sums[i][j] = _mm512_dpbf16_ps(sums[i][j], row, columns[j]);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < VECTORS; ++j) _mm512_storeu_ps(out + i * COLUMNS + j * W, sums[i][j]);
  }
};

// AMX: registers of sixteen rows of 64 bytes. 2 × 2 of them hold the sums; one instruction adds the products
// of 16 × 32 and 32 × 16 values.
struct TilesKernel {
  static constexpr int W = 16, ROWS = 32, COLUMNS = 32, kWords = 16;
  static constexpr bool kRowsInTiles = true;
  using Unit = Pairs;

  // Configures this thread's tile registers; the configuration of whoever used them before is restored.
  class Registers {
   public:
    __attribute__((target("amx-tile"), noinline)) Registers() {
      _tile_storeconfig(&before_);
      whole_memory();
      Configuration all;
      all.palette = 1;
      for (int tile = 0; tile < 8; ++tile) all.row_bytes[tile] = 64, all.rows[tile] = 16;
      whole_memory();
      _tile_loadconfig(&all);
    }
    __attribute__((target("amx-tile"), noinline)) ~Registers() {
      whole_memory();
      _tile_loadconfig(&before_);
    }
    Registers(const Registers&) = delete;
    Registers& operator=(const Registers&) = delete;

   private:
    struct alignas(64) Configuration {
      std::uint8_t palette = 0, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {};
      std::uint8_t rows[16] = {};
    };
    // GCC's intrinsics declare that they access the first eight bytes alone.
    static ARSBENCH_INLINE void whole_memory() { asm volatile("" ::: "memory"); }

    Configuration before_;
  };

  __attribute__((target("amx-tile,amx-bf16"), noinline)) static void multiply(std::int64_t words,
                                                                              const float* a, const float* b,
                                                                              float* out) {
    constexpr int kTile = 16 * 16;  // words
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (std::int64_t p = 0; p < words; p += kWords, a += 2 * kTile, b += 2 * kTile) {
      // The processor does not prefetch for tile loads. Two steps ahead: 3 to 8 % of a product.
#pragma GCC unroll 32
      for (int word = 0; word < 2 * kTile; word += 16) __builtin_prefetch(b + 4 * kTile + word);
      _tile_loadd(4, a, 64);
      _tile_loadd(6, b, COLUMNS * 4);
      _tile_loadd(7, b + 16, COLUMNS * 4);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, a + kTile, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, out, COLUMNS * 4);
    _tile_stored(1, out + 16, COLUMNS * 4);
    _tile_stored(2, out + 16 * COLUMNS, COLUMNS * 4);
    _tile_stored(3, out + 16 * COLUMNS + 16, COLUMNS * 4);
  }
};

#endif

}  // namespace arsbench
