// Settings for the execution of kernels, and counters.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace simt {

inline int from_environment(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::atoi(value) : otherwise;
}

// Read at each launch. docs/simt.md explains the schedules.
struct Config {
  // Order of threads and blocks. 0: in order; 1: reversed; other odd numbers: a randomly chosen warp runs as
  // far as it can, then the next; even numbers: all threads advance at the same rate, in random order.
  unsigned seed = static_cast<unsigned>(from_environment("SIMT_SEED", 0));
  // OS threads that run the blocks; 0: one per core.
  unsigned threads = static_cast<unsigned>(from_environment("SIMT_THREADS", 0));
  // When cp.async copies. 0: at the wait, as late as allowed; 1: immediately; 2: at random.
  int cp_async = from_environment("SIMT_CP_ASYNC", 0);
  // Fill shared memory with NaN before each block.
  bool poison = from_environment("SIMT_POISON", 1) != 0;
};

inline Config& config() {
  static Config config;
  return config;
}

// Sums over all launches.
struct Stats {
  std::atomic<uint64_t> switches{0};
  std::atomic<uint64_t> barriers{0};        // __syncthreads, once per block
  std::atomic<uint64_t> collectives{0};     // shuffles, votes, ldmatrix, mma, __syncwarp, once per warp
  std::atomic<uint64_t> bank_conflicts{0};  // extra passes of ldmatrix over shared memory
};

inline Stats& stats() {
  static Stats stats;
  return stats;
}

}  // namespace simt
