// The functions of ptx.h on the host, written from the PTX ISA. They also check alignment and range.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "block.h"
#include "warp.h"

namespace ptx {

// ---- cp.async

// The sanitizers see these accesses as accesses of the thread that started the copy.
inline void perform(simt::AsyncCopies::Copy& copy) {
  if (copy.done) return;
  if (copy.from != nullptr) {
    std::memcpy(copy.to, copy.from, 16);
  } else {
    std::memset(copy.to, 0, 16);
  }
  copy.done = true;
}

inline void cp_async16(void* to, const void* from, bool valid = true, SIMT_HERE) {
  const simt::Site site{"cp.async", file, line};
  const auto aligned = [](const void* address) { return (reinterpret_cast<uintptr_t>(address) & 15) == 0; };
  simt::Thread& thread = *simt::current;
  if (!aligned(to)) simt::fail("the destination is not aligned to 16 bytes", site);
  if (valid && !aligned(from)) simt::fail("the source is not aligned to 16 bytes", site);
  if (!thread.block->shared.contains(to, 16)) simt::fail("the destination is outside shared memory", site);
  thread.async.copies.push_back({to, valid ? from : nullptr, false, site});
  const int when = thread.block->config.cp_async;
  if (when == 1 || (when == 2 && (thread.block->random() & 1) != 0)) perform(thread.async.copies.back());
}

inline void cp_async_commit() {
  simt::AsyncCopies& async = simt::current->async;
  async.group_ends.push_back(async.copies.size());
}

template <int Pending>
inline void cp_async_wait() {
  simt::AsyncCopies& async = simt::current->async;
  if (async.group_ends.size() <= Pending) return;
  const size_t groups = async.group_ends.size() - Pending;
  const size_t end = async.group_ends[groups - 1];
  for (size_t i = 0; i < end; i++) perform(async.copies[i]);
  async.copies.erase(async.copies.begin(), async.copies.begin() + static_cast<std::ptrdiff_t>(end));
  async.group_ends.erase(async.group_ends.begin(),
                         async.group_ends.begin() + static_cast<std::ptrdiff_t>(groups));
  for (size_t& group_end : async.group_ends) group_end -= end;
}

// ---- ldmatrix

SIMT_NO_TSAN __attribute__((noinline)) inline void keep_row(uint32_t* to, uint64_t low, uint64_t high) {
  to[0] = static_cast<uint32_t>(low);
  to[1] = static_cast<uint32_t>(low >> 32);
  to[2] = static_cast<uint32_t>(high);
  to[3] = static_cast<uint32_t>(high >> 32);
}

// The sanitizers see this read as an access of the lane, but not the emulator's write.
__attribute__((noinline)) inline void read_row(uint32_t* to, const void* row) {
  const volatile uint64_t* from = static_cast<const volatile uint64_t*>(row);
  const uint64_t low = from[0], high = from[1];
  keep_row(to, low, high);
}

// Shared memory delivers eight rows in one pass if bits 4 to 6 of their addresses differ or the rows are
// identical.
SIMT_NO_TSAN inline unsigned extra_passes(const simt::Warp& warp, unsigned matrix) {
  unsigned most = 1;
  for (unsigned i = 0; i < 8; i++) {
    unsigned passes = 1;  // passes that the rows up to this one need on its banks
    for (unsigned j = 0; j < i; j++) {
      const uint32_t one = warp.in[8 * matrix + i][4], other = warp.in[8 * matrix + j][4];
      if (one == other) {
        passes = 0;
        break;
      }
      passes += ((one ^ other) & 7) == 0;
    }
    most = passes > most ? passes : most;
  }
  return most - 1;
}

// Register m of lane l contains row l / 4, columns 2 (l % 4) and the next, of matrix m (or of its transpose).
template <bool kTransposed>
SIMT_NO_TSAN void ldmatrix(unsigned (&out)[4], const void* row, const simt::Site& site) {
  const simt::Thread& thread = *simt::current;
  simt::Warp& warp = *thread.warp;
  if ((reinterpret_cast<uintptr_t>(row) & 15) != 0) simt::fail("the row is not aligned to 16 bytes", site);
  if (!thread.block->shared.contains(row, 16)) simt::fail("the row is outside shared memory", site);
  uint32_t* mine = warp.in[thread.lane];
  read_row(mine, row);
  mine[4] = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(row) >> 4);
  simt::meet(~0u, site, [](simt::Warp& of) SIMT_NO_TSAN {
    const auto element = [&of](unsigned matrix, unsigned r, unsigned c)
                             SIMT_NO_TSAN { return of.in[8 * matrix + r][c / 2] >> 16 * (c & 1) & 0xffff; };
    for (unsigned m = 0; m < 4; m++) {
      simt::current->block->bank_conflicts += extra_passes(of, m);
      for (unsigned lane = 0; lane < 32; lane++) {
        const unsigned r = lane / 4, c = 2 * (lane % 4);
        of.out[lane][m] = kTransposed ? element(m, c, r) | element(m, c + 1, r) << 16
                                      : element(m, r, c) | element(m, r, c + 1) << 16;
      }
    }
  });
  for (int m = 0; m < 4; m++) out[m] = warp.out[thread.lane][m];
}

inline void ldmatrix_x4(unsigned (&out)[4], const void* row, SIMT_HERE) {
  ldmatrix<false>(out, row, {"ldmatrix", file, line});
}
inline void ldmatrix_x4_trans(unsigned (&out)[4], const void* row, SIMT_HERE) {
  ldmatrix<true>(out, row, {"ldmatrix.trans", file, line});
}

// ---- mma

SIMT_NO_TSAN inline float low_half(uint32_t bits) {
  bits <<= 16;
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}
SIMT_NO_TSAN inline float high_half(uint32_t bits) {
  bits &= 0xffff0000u;
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

// With g = lane / 4 and q = 2 (lane % 4); each register holds two values with consecutive k:
//   a: rows g, g + 8, g, g + 8 from k = q, q, q + 8, q + 8;   b: column g from k = q, q + 8;
//   d: row g, columns q and q + 1, then row g + 8.
struct BFloat16Operands {
  static constexpr int kDepth = 16;
  SIMT_NO_TSAN static void unpack(const uint32_t* in, int lane, float (&a)[16][16], float (&b)[16][8]) {
    const int g = lane / 4, q = 2 * (lane % 4);
    for (int i = 0; i < 4; i++) {
      const int row = g + 8 * (i & 1), k = q + 8 * (i >> 1);
      a[row][k] = low_half(in[i]);
      a[row][k + 1] = high_half(in[i]);
    }
    for (int i = 0; i < 2; i++) {
      b[q + 8 * i][g] = low_half(in[4 + i]);
      b[q + 8 * i + 1][g] = high_half(in[4 + i]);
    }
  }
};

// One value per register, with t = lane % 4:
//   a: rows g, g + 8, g, g + 8 at k = t, t, t + 4, t + 4;   b: column g at k = t, t + 4;   d as above.
struct Tf32Operands {
  static constexpr int kDepth = 8;
  SIMT_NO_TSAN static float value(uint32_t bits) {
    bits &= 0xffffe000u;
    float result;
    __builtin_memcpy(&result, &bits, sizeof result);
    return result;
  }
  SIMT_NO_TSAN static void unpack(const uint32_t* in, int lane, float (&a)[16][16], float (&b)[16][8]) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) a[g + 8 * (i & 1)][t + 4 * (i >> 1)] = value(in[i]);
    for (int i = 0; i < 2; i++) b[t + 4 * i][g] = value(in[4 + i]);
  }
};

// The host sums k in order, in float. Tensor cores add in another order, with other roundings.
template <class Operands>
SIMT_NO_TSAN inline void multiply_accumulate(simt::Warp& warp) {
  float a[16][16], b[16][8], d[16][8];
  for (int lane = 0; lane < 32; lane++) {
    const int g = lane / 4, q = 2 * (lane % 4);
    Operands::unpack(warp.in[lane], lane, a, b);
    for (int i = 0; i < 2; i++)
      __builtin_memcpy(&d[g + 8 * i][q], &warp.in[lane][6 + 2 * i], 2 * sizeof(float));
  }
  for (int i = 0; i < 16; i++) {
    for (int k = 0; k < Operands::kDepth; k++) {
      for (int j = 0; j < 8; j++) d[i][j] += a[i][k] * b[k][j];
    }
  }
  for (int lane = 0; lane < 32; lane++) {
    const int g = lane / 4, q = 2 * (lane % 4);
    for (int i = 0; i < 2; i++) __builtin_memcpy(&warp.out[lane][2 * i], &d[g + 8 * i][q], 2 * sizeof(float));
  }
}

template <class Operands>
SIMT_NO_TSAN void mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1,
                      const simt::Site& site) {
  const simt::Thread& thread = *simt::current;
  simt::Warp& warp = *thread.warp;
  uint32_t* in = warp.in[thread.lane];
  for (int i = 0; i < 4; i++) in[i] = a[i];
  in[4] = b0;
  in[5] = b1;
  __builtin_memcpy(&in[6], d, sizeof d);
  simt::meet(~0u, site, multiply_accumulate<Operands>);
  __builtin_memcpy(d, warp.out[thread.lane], sizeof d);
}

SIMT_NO_TSAN inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1,
                                  SIMT_HERE) {
  mma<BFloat16Operands>(d, a, b0, b1, {"mma", file, line});
}
SIMT_NO_TSAN inline void mma_tf32(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1,
                                  SIMT_HERE) {
  mma<Tf32Operands>(d, a, b0, b1, {"mma", file, line});
}

// To nearest, ties away from zero; infinities and NaN are unchanged.
inline unsigned round_tf32(float x) {
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return std::isnan(x) ? 0x7fffffffu : bits;
  return (bits + 0x1000u) & 0xffffe000u;
}

}  // namespace ptx
