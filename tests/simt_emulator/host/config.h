// How kernels are run, and what was counted while they ran.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace simt {

inline int from_environment(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::atoi(value) : otherwise;
}

// Read at each launch. docs/simt.md tells what each schedule is for.
struct Config {
  // Order of threads and blocks. 0: in order; 1: reversed; other odd numbers: a warp, chosen at random, runs
  // as far as it can, then the next; even numbers: all threads advance alike, in random order.
  unsigned seed = static_cast<unsigned>(from_environment("SIMT_SEED", 0));
  // Threads of the operating system that the blocks are spread over; 0: as many as there are cores.
  unsigned threads = static_cast<unsigned>(from_environment("SIMT_THREADS", 0));
  // When cp.async copies. 0: at the wait, as late as it may; 1: at once; 2: at random.
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
  std::atomic<uint64_t> barriers{0};        // __syncthreads, once a block
  std::atomic<uint64_t> collectives{0};     // shuffles, votes, ldmatrix, mma, __syncwarp, once a warp
  std::atomic<uint64_t> bank_conflicts{0};  // passes of ldmatrix over shared memory beyond the least
};

inline Stats& stats() {
  static Stats stats;
  return stats;
}

}  // namespace simt
