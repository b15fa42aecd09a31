// Random numbers for the schedules.
#pragma once

#include <cstdint>

#include "sanitizers.h"

namespace simt {

// Marsaglia's xorshift, which gives the same numbers with every standard library.
class Random {
 public:
  explicit Random(uint64_t seed = 1) : state_((seed + 1) * 0x9E3779B97F4A7C15u) {}

  SIMT_NO_TSAN uint32_t operator()() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>(state_ >> 32);
  }

  SIMT_NO_TSAN void shuffle(unsigned* values, unsigned count) {
    for (unsigned i = count; i > 1; i--) {
      const unsigned j = (*this)() % i;
      const unsigned value = values[i - 1];
      values[i - 1] = values[j];
      values[j] = value;
    }
  }

 private:
  uint64_t state_;
};

}  // namespace simt
