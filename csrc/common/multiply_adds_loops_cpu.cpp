#include "micro_kernel.h"
#include "multiply_adds.h"

namespace arsbench {
namespace {

// Chains of dependent multiply-adds. As many run at once as hide the latency of one: four cycles, two per
// cycle.
constexpr int kChains = 12;

template <VectorLevel level>
struct VectorChains {
  static ARSBENCH_INLINE double run(std::int64_t rounds) {
    constexpr int W = KernelOf<level>::W;
    Vector<W> sums[kChains], factor = Vector<W>{} + 0.5f;
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) {
      sums[i] = Vector<W>{};
      hide(sums[i]);  // or equal chains would become one
    }
#pragma GCC unroll 1
    for (std::int64_t round = 0; round < rounds; ++round) {
      hide(factor);
#pragma GCC unroll 16
      for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * factor + factor;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) hide(sums[i]);
    return 2.0 * W * kChains * static_cast<double>(rounds);
  }

  // The compiler may assume nothing about v from here on.
  template <class V>
  static ARSBENCH_INLINE void hide(V& v) {
#if defined(__x86_64__)
    asm volatile("" : "+v"(v));
#else
    asm volatile("" : "+w"(v));
#endif
  }
};

#if defined(__x86_64__)

__attribute__((target("avx512f,avx512bf16"))) double pairs_chains(std::int64_t rounds) {
  __m512 sums[kChains], ones = _mm512_castsi512_ps(_mm512_set1_epi16(0x3F80));
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) {
    sums[i] = _mm512_setzero_ps();
    asm volatile("" : "+v"(sums[i]));
  }
#pragma GCC unroll 1
  for (std::int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(ones));
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], (__m512bh)ones, (__m512bh)ones);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) asm volatile("" ::"v"(sums[i]));
  return 2.0 * 32 * kChains * static_cast<double>(rounds);
}

// Four chains of tiles: an instruction takes sixteen cycles.
__attribute__((target("amx-tile,amx-bf16"), noinline)) double tiles_chains(std::int64_t rounds) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  for (std::int64_t round = 0; round < rounds; ++round) {
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 4, 5);
    _tile_dpbf16ps(2, 4, 5);
    _tile_dpbf16ps(3, 4, 5);
  }
  return 4 * 2.0 * 16 * 16 * 32 * static_cast<double>(rounds);
}

#endif

}  // namespace

double multiply_adds(Bfloat16Kernel kernel, std::int64_t rounds) {
#if defined(__x86_64__)
  if (kernel == Bfloat16Kernel::pairs) return pairs_chains(rounds);
  if (kernel == Bfloat16Kernel::tiles) {
    const TilesKernel::Registers configured;
    return tiles_chains(rounds);
  }
#endif
  return run_at_widest<VectorChains>(rounds);
}

}  // namespace arsbench
