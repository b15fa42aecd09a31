// Runs the threads of one block in the order of the schedule, and releases them from barriers.
#pragma once

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "block.h"

namespace simt {

// The current thread waits, or has ended and is never resumed; the scheduler selects another.
SIMT_NO_TSAN inline void switch_to_scheduler(Thread& thread) {
  Block& block = *thread.block;
  asan_leave(thread.state == State::kDone ? nullptr : &thread.asan_stack, block.scheduler_stack,
             block.scheduler_stack_bytes);
  tsan_switch(block.tsan_fiber);
  switch_context(&thread.context, &block.scheduler);
  asan_arrive(thread.asan_stack, &block.scheduler_stack, &block.scheduler_stack_bytes);
}

SIMT_NO_TSAN inline void suspend(Thread& thread, State state) {
  thread.state = state;
  switch_to_scheduler(thread);
  if (thread.block->failed) throw Abandoned();
}

inline void call_kernel(Thread& thread) {
  thread.block->kernel(thread.block->arguments);
  const std::vector<AsyncCopies::Copy>& copies = thread.async.copies;
  if (!copies.empty()) fail("the thread ends without having waited for a copy", copies.front().site);
}

// The first function on a thread's stack.
SIMT_NO_TSAN SIMT_NO_ASAN inline void thread_main() {
  Thread& thread = *current;
  Block& block = *thread.block;
  asan_arrive(nullptr, &block.scheduler_stack, &block.scheduler_stack_bytes);
  acquire(&block.begun);
  try {
    call_kernel(thread);
  } catch (const Abandoned&) {
  } catch (const std::exception& error) {
    record(block, error.what(), describe(block) + " " + describe(thread));
  }
  thread.async.copies.clear();
  thread.async.group_ends.clear();
  thread.warp->alive &= ~(1u << thread.lane);
  thread.state = State::kDone;
  release(&block.ended);
  switch_to_scheduler(thread);
  __builtin_unreachable();
}

// Runs a thread until it waits or ends. Returns false if it cannot run.
SIMT_NO_TSAN inline bool step(Block& block, Thread& thread) {
  if (thread.state == State::kNotStarted) {
    begin_at(&thread.context, thread.stack.begin(), thread.stack_top(), thread_main);
  } else if (thread.state != State::kReady) {
    return false;
  }
  thread.state = State::kReady;
  current = &thread;
  block.switches += 2;
  asan_leave(&block.asan_stack, thread.stack.begin(), thread.stack.bytes());
  tsan_switch(thread.tsan_fiber);
  switch_context(&block.scheduler, &thread.context);
  asan_arrive(block.asan_stack, nullptr, nullptr);
  block.done += thread.state == State::kDone;
  return true;
}

// One step of every thread that can run, in random order. Returns false if none can.
SIMT_NO_TSAN inline bool step_all(Block& block) {
  bool any = false;
  unsigned* order = block.thread_order.data();
  block.random.shuffle(order, block.thread_count);
  for (unsigned i = 0; i < block.thread_count && !block.failed; i++)
    any |= step(block, *block.threads[order[i]]);
  return any;
}

// One warp after another, each as far as it can run without the others. Returns false if none can.
SIMT_NO_TSAN inline bool run_warps_ahead(Block& block) {
  const unsigned seed = block.config.seed;
  bool any = false;
  if (seed > 1) block.random.shuffle(block.warp_order.data(), block.warp_count);
  for (unsigned w = 0; w < block.warp_count; w++) {
    const unsigned first = block.warp_order[w] * 32;
    const unsigned count = block.thread_count - first < 32 ? block.thread_count - first : 32;
    unsigned* lanes = block.thread_order.data() + first;
    for (bool again = true; again;) {
      again = false;
      if (seed > 1) block.random.shuffle(lanes, count);
      for (unsigned i = 0; i < count; i++) {
        again |= step(block, *block.threads[lanes[i]]);
        if (block.failed) return true;
      }
      any |= again;
    }
  }
  return any;
}

// All threads wait. Releases them if they wait at the same barrier, or else records the error.
SIMT_NO_TSAN inline void release_barrier(Block& block) {
  const Thread* first = nullptr;
  const Thread* ended = nullptr;
  for (unsigned i = 0; i < block.thread_count; i++) {
    const Thread& thread = *block.threads[i];
    if (thread.state == State::kAtWarp) {
      char masks[64];
      snprintf(masks, sizeof masks, "mask %08x, arrived %08x, alive %08x", thread.mask, thread.warp->arrived,
               thread.warp->alive);
      record(block, "waits for lanes that never come (" + std::string(masks) + "): " + describe(thread.site),
             describe(block) + " " + describe(thread));
      return;
    }
    if (thread.state == State::kDone) {
      if (ended == nullptr) ended = &thread;
    } else if (first == nullptr) {
      first = &thread;
    } else if (thread.site.line != first->site.line || std::strcmp(thread.site.file, first->site.file) != 0) {
      record(block,
             "divergent barrier: " + describe(*first) + " waits in " + describe(first->site) + ", " +
                 describe(thread) + " in " + describe(thread.site),
             describe(block));
      return;
    }
  }
  if (ended != nullptr) {
    record(block,
           "divergent barrier: " + describe(*first) + " waits in " + describe(first->site) + ", " +
               describe(*ended) + " has ended",
           describe(block));
    return;
  }
  for (unsigned i = 0; i < block.thread_count; i++) block.threads[i]->state = State::kReady;
  block.turn ^= 1;
  block.barriers++;
}

// Ends the waiting threads of a failed block, each by an exception on its own stack.
SIMT_NO_TSAN inline void abandon(Block& block) {
  for (unsigned i = 0; i < block.thread_count; i++) {
    Thread& thread = *block.threads[i];
    if (thread.state == State::kNotStarted || thread.state == State::kDone) continue;
    thread.state = State::kReady;
    step(block, thread);
  }
}

SIMT_NO_TSAN inline void run_block(Block& block) {
  block.shared.begin_block(block.dynamic_bytes, block.config.poison);
  block.done = 0;
  for (unsigned w = 0; w < block.warp_count; w++) {
    Warp& warp = block.warps[w];
    const unsigned lanes = block.thread_count - 32 * w;
    warp.alive = lanes < 32 ? (1u << lanes) - 1 : ~0u;
    warp.arrived = 0;
    block.warp_order[w] = block.config.seed == 1 ? block.warp_count - 1 - w : w;
  }
  for (unsigned i = 0; i < block.thread_count; i++) {
    block.threads[i]->state = State::kNotStarted;
    // Reversed within each warp: run_warps_ahead takes a warp's lanes from its part of the order.
    const unsigned first = i / 32 * 32;
    const unsigned last = first + 31 < block.thread_count ? first + 31 : block.thread_count - 1;
    block.thread_order[i] = block.config.seed == 1 ? last - (i - first) : i;
  }
  release(&block.begun);
  const bool interleaved = block.config.seed > 1 && block.config.seed % 2 == 0;
  while (block.done < block.thread_count && !block.failed) {
    const bool any = interleaved ? step_all(block) : run_warps_ahead(block);
    if (!any && !block.failed) release_barrier(block);
  }
  if (block.failed) abandon(block);
  acquire(&block.ended);
  current = nullptr;
  const SharedMemory::Array* damaged = block.shared.damaged();
  if (damaged != nullptr) {
    record(block, std::string("a write outside shared memory, beside ") + damaged->name, describe(block));
  }
}

// __syncthreads
SIMT_NO_TSAN inline void wait_for_block(const char* file, int line) {
  Thread& thread = *current;
  thread.site = {"__syncthreads", file, line};
  // Alternates, so that a slow thread does not acquire what a fast one releases at the next barrier.
  char* turn = &thread.block->synchronised[thread.block->turn];
  release(turn);
  suspend(thread, State::kAtBarrier);
  acquire(turn);
}

}  // namespace simt
