// Launches: the blocks of a grid, distributed over OS threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "block.h"
#include "launch_log.h"
#include "scheduler.h"

namespace simt {

inline void require(bool condition, const std::string& what) {
  if (!condition) throw Error("launch of a kernel: " + what);
}

// The limits of compute capability 9.0 and 10.0.
inline void check_launch(const dim3& grid, const dim3& block, size_t shared_bytes) {
  require(grid.x > 0 && grid.y > 0 && grid.z > 0, "an empty grid " + extent(grid.x, grid.y, grid.z));
  require(grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535,
          "more blocks than a grid may have: " + extent(grid.x, grid.y, grid.z));
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  require(threads > 0, "an empty block " + extent(block.x, block.y, block.z));
  require(block.x <= 1024 && block.y <= 1024 && block.z <= 64 && threads <= 1024,
          "more threads than a block may have: " + extent(block.x, block.y, block.z));
  require(
      shared_bytes <= kMaxShared,
      std::to_string(shared_bytes) + " bytes of dynamic shared memory, above " + std::to_string(kMaxShared));
  require(current == nullptr, "from within a kernel");
}

struct Grid {
  dim3 size, block;
  size_t shared_bytes;
  void (*kernel)(void* arguments);
  void* arguments;
};

inline void prepare(Block& block, const Grid& grid, const Config& config) {
  block.grid = grid.size;
  block.size = grid.block;
  block.thread_count = grid.block.x * grid.block.y * grid.block.z;
  block.dynamic_bytes = grid.shared_bytes;
  block.config = config;
  block.kernel = grid.kernel;
  block.arguments = grid.arguments;
  block.failed = false;
  block.switches = block.barriers = block.collectives = block.bank_conflicts = 0;
  block.warp_count = (block.thread_count + 31) / 32;
  if (block.warps == nullptr) block.warps = std::make_unique<Warp[]>(32);
  block.thread_order.resize(block.thread_count);
  block.warp_order.resize(block.warp_count);
  while (block.threads.size() < block.thread_count) {
    block.threads.push_back(std::make_unique<Thread>(&block, static_cast<unsigned>(block.threads.size())));
  }
  for (unsigned i = 0; i < block.thread_count; i++) {
    Thread& thread = *block.threads[i];
    thread.warp = &block.warps[i / 32];
    thread.index = {i % grid.block.x, i / grid.block.x % grid.block.y, i / (grid.block.x * grid.block.y)};
  }
}

inline void run_grid(const Grid& grid) {
  check_launch(grid.size, grid.block, grid.shared_bytes);
  // Launches from different OS threads run one after another, like launches on one stream.
  static std::mutex one_at_a_time;
  const std::lock_guard<std::mutex> turn(one_at_a_time);

  const Config config = simt::config();
  const uint64_t count = uint64_t{grid.size.x} * grid.size.y * grid.size.z;
  std::vector<unsigned> order(count);
  for (uint64_t i = 0; i < count; i++) order[i] = static_cast<unsigned>(config.seed == 1 ? count - 1 - i : i);
  if (config.seed > 1) Random(config.seed).shuffle(order.data(), static_cast<unsigned>(count));

  // Kept between launches to reuse the threads' stacks.
  static std::vector<std::unique_ptr<Block>> blocks;
  const unsigned wanted =
      config.threads != 0 ? config.threads : std::max(1u, std::thread::hardware_concurrency());
  const size_t workers = std::min<uint64_t>(wanted, count);
  while (blocks.size() < workers) blocks.push_back(std::make_unique<Block>());
  for (size_t i = 0; i < workers; i++) prepare(*blocks[i], grid, config);

  // Every worker starts with a block of its own, however late it starts: ThreadSanitizer detects no race
  // between blocks that one worker runs.
  std::atomic<uint64_t> next{workers};
  std::atomic<bool> stop{false};
  const auto work = [&](size_t worker) {
    Block& block = *blocks[worker];
    block.tsan_fiber = this_tsan_fiber();
    for (uint64_t i = worker; i < count && !stop; i = next++) {
      const unsigned linear = order[i];
      block.index = {linear % grid.size.x, linear / grid.size.x % grid.size.y,
                     linear / grid.size.x / grid.size.y};
      // Seeded by block, not by worker: the schedule does not depend on the number of workers.
      block.random = Random(uint64_t{config.seed} << 32 | linear);
      run_block(block);
      if (block.failed) stop = true;
    }
  };
  std::vector<std::thread> others;
  for (size_t i = 1; i < workers; i++) others.emplace_back(work, i);
  work(0);
  for (std::thread& other : others) other.join();

  std::string error;
  for (size_t i = 0; i < workers; i++) {
    Block& block = *blocks[i];
    stats().switches += block.switches;
    stats().barriers += block.barriers;
    stats().collectives += block.collectives;
    stats().bank_conflicts += block.bank_conflicts;
    if (error.empty() && block.failed) error = block.error;
  }
  if (!error.empty()) throw Error(error);
}

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...); returns when the kernel has ended.
template <class... Parameters>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t,
            std::type_identity_t<Parameters>... arguments) {
  print_launch(reinterpret_cast<const void*>(kernel), block, shared_bytes);
  auto call = [&] { kernel(arguments...); };
  const auto run = [](void* it) { (*static_cast<decltype(call)*>(it))(); };
  run_grid({grid, block, shared_bytes, run, &call});
}

}  // namespace simt
