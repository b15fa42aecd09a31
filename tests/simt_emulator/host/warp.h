// Operations of a warp: __syncwarp, shuffles and votes.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <type_traits>

#include "block.h"
#include "scheduler.h"

namespace simt {

SIMT_NO_TSAN inline Thread& lane_of(const Thread& thread, unsigned lane) {
  return *thread.block->threads[thread.linear - thread.lane + lane];
}

// Lanes that meet must name the same mask in the same operation. Lanes outside the mask may wait in another.
SIMT_NO_TSAN inline void require_agreement(const Thread& thread) {
  for (uint32_t rest = thread.mask; rest != 0; rest &= rest - 1) {
    const Thread& other = lane_of(thread, static_cast<unsigned>(std::countr_zero(rest)));
    if (other.mask == thread.mask && other.site.line == thread.site.line &&
        other.site.operation == thread.site.operation) {
      continue;
    }
    fail("lanes of one mask meet in different operations: " + describe(other) + " is in " +
             describe(other.site) + ", " + describe(thread),
         thread.site);
  }
}

// The current lane has filled its row of the warp's `in`. The last lane of the mask to arrive calls
// resolve(warp), which fills `out`, and all lanes continue.
template <class Resolve>
SIMT_NO_TSAN void meet(uint32_t mask, const Site& site, Resolve resolve) {
  Thread& thread = *current;
  Warp& warp = *thread.warp;
  thread.site = site;
  thread.mask = mask;
  if ((mask >> thread.lane & 1) == 0) fail("the calling lane is not in its mask", site);
  if ((mask & ~warp.alive) != 0) fail("the mask names lanes that have ended or do not exist", site);
  warp.arrived |= 1u << thread.lane;
  if ((warp.arrived & mask) != mask) {
    suspend(thread, State::kAtWarp);
    return;
  }
  require_agreement(thread);
  resolve(warp);
  warp.arrived &= ~mask;
  thread.block->collectives++;
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    lane_of(thread, static_cast<unsigned>(std::countr_zero(rest))).state = State::kReady;
  }
}

// __syncwarp, the only one of these operations that orders memory accesses, also for ThreadSanitizer.
SIMT_NO_TSAN inline void wait_for_warp(uint32_t mask, const char* file, int line) {
  Warp& warp = *current->warp;
  char* turn = &warp.synchronised[warp.turn];
  release(turn);
  meet(mask, {"__syncwarp", file, line}, [](Warp& of) SIMT_NO_TSAN { of.turn ^= 1; });
  acquire(turn);
}

template <class T>
SIMT_NO_TSAN T shuffle(uint32_t mask, T value, unsigned source, const Site& site) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  const Thread& thread = *current;
  Warp& warp = *thread.warp;
  uint32_t* mine = warp.in[thread.lane];
  __builtin_memcpy(mine, &value, sizeof(T));
  mine[2] = source;
  meet(mask, site, [mask, &site](Warp& of) SIMT_NO_TSAN {
    for (unsigned lane = 0; lane < 32; lane++) {
      if ((mask >> lane & 1) == 0) continue;
      const unsigned from = of.in[lane][2];
      if ((mask >> from & 1) == 0) {
        fail("lane " + std::to_string(lane) + " reads lane " + std::to_string(from) +
                 ", which is not in the mask",
             site);
      }
      of.out[lane][0] = of.in[from][0];
      of.out[lane][1] = of.in[from][1];
    }
  });
  __builtin_memcpy(&value, warp.out[thread.lane], sizeof(T));
  return value;
}

// The lane that each kind of shuffle reads. A source outside the lane's group of `width` is the lane itself,
// except that xor may read from an earlier group (PTX ISA, shfl.sync).
SIMT_NO_TSAN inline unsigned group_of(int width, const Site& site) {
  if (width < 1 || width > 32 || !std::has_single_bit(static_cast<unsigned>(width))) {
    fail("the width " + std::to_string(width) + " is not a power of two up to 32", site);
  }
  return current->lane & ~(static_cast<unsigned>(width) - 1);
}

SIMT_NO_TSAN inline unsigned source_xor(unsigned bits, int width, const Site& site) {
  const unsigned end = group_of(width, site) + static_cast<unsigned>(width);
  const unsigned source = current->lane ^ (bits & 31);
  return source < end ? source : current->lane;
}

SIMT_NO_TSAN inline unsigned source_down(unsigned delta, int width, const Site& site) {
  const unsigned end = group_of(width, site) + static_cast<unsigned>(width);
  const unsigned source = current->lane + (delta & 31);
  return source < end ? source : current->lane;
}

SIMT_NO_TSAN inline unsigned source_up(unsigned delta, int width, const Site& site) {
  const unsigned begin = group_of(width, site);
  const unsigned back = delta & 31;
  return current->lane >= begin + back ? current->lane - back : current->lane;
}

SIMT_NO_TSAN inline unsigned source_index(int index, int width, const Site& site) {
  return group_of(width, site) | (static_cast<unsigned>(index) & (static_cast<unsigned>(width) - 1));
}

// The lanes of the mask whose predicate is true.
SIMT_NO_TSAN inline uint32_t vote(uint32_t mask, bool predicate, const Site& site) {
  const Thread& thread = *current;
  Warp& warp = *thread.warp;
  warp.in[thread.lane][0] = predicate;
  meet(mask, site, [mask](Warp& of) SIMT_NO_TSAN {
    uint32_t lanes = 0;
    for (unsigned lane = 0; lane < 32; lane++) {
      if ((mask >> lane & 1) != 0) lanes |= of.in[lane][0] << lane;
    }
    for (unsigned lane = 0; lane < 32; lane++) {
      if ((mask >> lane & 1) != 0) of.out[lane][0] = lanes;
    }
  });
  return warp.out[thread.lane][0];
}

}  // namespace simt

// Functions, because a macro would split arguments at the comma of a template argument list; the default
// arguments are the caller's file and line.
#define SIMT_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(SIMT_HERE) { simt::wait_for_block(file, line); }
inline void __syncwarp(unsigned mask = ~0u, SIMT_HERE) { simt::wait_for_warp(mask, file, line); }

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, SIMT_HERE) {
  const simt::Site site{"__shfl_sync", file, line};
  return simt::shuffle(mask, value, simt::source_index(source, width, site), site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_HERE) {
  const simt::Site site{"__shfl_up_sync", file, line};
  return simt::shuffle(mask, value, simt::source_up(delta, width, site), site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_HERE) {
  const simt::Site site{"__shfl_down_sync", file, line};
  return simt::shuffle(mask, value, simt::source_down(delta, width, site), site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, SIMT_HERE) {
  const simt::Site site{"__shfl_xor_sync", file, line};
  return simt::shuffle(mask, value, simt::source_xor(static_cast<unsigned>(bits), width, site), site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, SIMT_HERE) {
  return simt::vote(mask, predicate != 0, {"__ballot_sync", file, line});
}
inline int __any_sync(unsigned mask, int predicate, SIMT_HERE) {
  return simt::vote(mask, predicate != 0, {"__any_sync", file, line}) != 0;
}
inline int __all_sync(unsigned mask, int predicate, SIMT_HERE) {
  return simt::vote(mask, predicate != 0, {"__all_sync", file, line}) == mask;
}
