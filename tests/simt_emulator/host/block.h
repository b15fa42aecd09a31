// The state of a running block: its threads, warps and shared memory, and its first error.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config.h"
#include "fiber.h"
#include "host_types.h"
#include "random.h"
#include "sanitizers.h"
#include "shared_memory.h"

namespace simt {

struct Block;
struct Warp;

// The operation of a thread that waits for other threads or may fail, with its place in the source.
struct Site {
  const char* operation;
  const char* file;
  int line;
};

enum class State : uint8_t { kNotStarted, kReady, kAtBarrier, kAtWarp, kDone };

// The copies that cp.async has started, and the end of each committed group.
struct AsyncCopies {
  struct Copy {
    void* to;
    const void* from;  // null: zeros
    bool done;
    Site site;
  };
  std::vector<Copy> copies;
  std::vector<size_t> group_ends;
};

// Sanitizers need larger stacks.
constexpr size_t kStackBytes = (SIMT_ASAN || SIMT_TSAN ? 256 : 128) * 1024;

struct Thread {
  Thread(Block* owner, unsigned number)
      : linear(number),
        lane(number % 32),
        block(owner),
        tsan_fiber(new_tsan_fiber(("CUDA thread " + std::to_string(number)).c_str())),
        stack(kStackBytes) {}
  ~Thread() { delete_tsan_fiber(tsan_fiber); }

  // Shifts each stack: equal frames on equally aligned stacks would share a few cache sets.
  char* stack_top() const { return stack.begin() + stack.bytes() - linear % 64 * 192; }

  Context context;
  State state = State::kDone;
  uint3 index{};
  unsigned linear, lane;
  uint32_t mask = 0;  // mask of the warp-wide operation that it waits in
  Site site{};
  Warp* warp = nullptr;
  Block* block;
  AsyncCopies async;
  void* asan_stack = nullptr;
  void* tsan_fiber;
  GuardedMemory stack;
};

// Lanes write their inputs of a warp-wide operation to `in`; the last one to arrive fills `out` for all.
struct Warp {
  uint32_t alive = 0, arrived = 0;
  alignas(64) uint32_t in[32][12];
  alignas(64) uint32_t out[32][4];
  char synchronised[2];  // for ThreadSanitizer, alternately: released by lanes at __syncwarp
  unsigned turn = 0;
};

struct Block {
  dim3 grid, size;
  uint3 index{};
  unsigned thread_count = 0, warp_count = 0, done = 0;
  std::vector<std::unique_ptr<Thread>> threads;
  std::unique_ptr<Warp[]> warps;
  std::vector<unsigned> thread_order, warp_order;
  SharedMemory shared;
  size_t dynamic_bytes = 0;
  Config config;
  Random random;

  void (*kernel)(void* arguments) = nullptr;
  void* arguments = nullptr;

  bool failed = false;
  std::string error;

  Context scheduler;
  void* asan_stack = nullptr;
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_bytes = 0;
  void* tsan_fiber = nullptr;
  // For ThreadSanitizer: released when the block begins, when a thread ends, and, alternately, at barriers.
  char begun, ended, synchronised[2];
  unsigned turn = 0;

  uint64_t switches = 0, barriers = 0, collectives = 0, bank_conflicts = 0;
};

// The CUDA thread that runs on this OS thread.
inline constinit thread_local Thread* current = nullptr;

// ---- Errors

inline std::string extent(unsigned x, unsigned y, unsigned z) {
  return "(" + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")";
}

inline std::string describe(const Block& block) {
  return "block " + extent(block.index.x, block.index.y, block.index.z);
}

inline std::string describe(const Thread& thread) {
  return "thread " + extent(thread.index.x, thread.index.y, thread.index.z);
}

inline std::string describe(const Site& site) {
  return std::string(site.operation) + " at " + site.file + ":" + std::to_string(site.line);
}

// Records an error; only the first error of a block is reported.
SIMT_NO_TSAN inline void record(Block& block, const std::string& what, const std::string& where) {
  if (block.failed) return;
  block.error = what + " [" + where + "]";
  block.failed = true;
}

// Thrown in every thread of a failed block, to end it and unwind its stack.
struct Abandoned {};

// Reports an error of the current thread.
[[noreturn]] inline void fail(const std::string& what, const Site& site) {
  const Thread& thread = *current;
  record(*thread.block, what + ": " + describe(site), describe(*thread.block) + " " + describe(thread));
  throw Abandoned();
}

}  // namespace simt
