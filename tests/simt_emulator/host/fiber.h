// The stacks of CUDA threads, and switching between them. On x86-64 a switch is a few instructions, 100 times
// as fast as ucontext, which other processors use. SIMT_UCONTEXT selects ucontext on x86-64 too, for its
// tests.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>

#include "sanitizers.h"

#if !defined(__x86_64__) && !defined(SIMT_UCONTEXT)
#define SIMT_UCONTEXT
#endif
#ifdef SIMT_UCONTEXT
#include <ucontext.h>
#endif

namespace simt {

// Mapped memory between two inaccessible guard pages: an overrun is a segmentation fault.
class GuardedMemory {
 public:
  explicit GuardedMemory(size_t bytes) : bytes_(bytes) {
    void* mapped = mmap(nullptr, bytes + 2 * kGuard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    begin_ = static_cast<char*>(mapped) + kGuard;
    if (mprotect(begin_, bytes, PROT_READ | PROT_WRITE) != 0) {
      munmap(mapped, bytes + 2 * kGuard);
      throw std::bad_alloc();
    }
  }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  ~GuardedMemory() {
    allow_access(begin_, bytes_);
    munmap(begin_ - kGuard, bytes_ + 2 * kGuard);
  }

  char* begin() const { return begin_; }
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kGuard = 64 * 1024;  // a multiple of every page size in use
  char* begin_;
  size_t bytes_;
};

// The saved state of a fiber or of the scheduler.
struct Context {
#ifdef SIMT_UCONTEXT
  ucontext_t state;
#else
  void* stack_pointer = nullptr;
#endif
};

#ifdef SIMT_UCONTEXT

SIMT_NO_TSAN inline void switch_context(Context* from, const Context* to) {
  swapcontext(&from->state, &to->state);
}

// The next switch to `context` calls `entry`, which must not return, on the stack that ends at `top`.
SIMT_NO_TSAN inline void begin_at(Context* context, char* bottom, char* top, void (*entry)()) {
  getcontext(&context->state);
  context->state.uc_stack.ss_sp = bottom;
  context->state.uc_stack.ss_size = static_cast<size_t>(top - bottom);
  context->state.uc_link = nullptr;
  makecontext(&context->state, entry, 0);
}

#else

// Saves the callee-saved registers and resumes where `to` saved its registers. It returns by a jump: the
// processor predicts a return from the preceding calls and would mispredict this one every time.
__attribute__((naked, noinline)) inline void switch_context(Context*, const Context*) {
  __asm__(
      "pushq %rbp\n"
      "pushq %rbx\n"
      "pushq %r12\n"
      "pushq %r13\n"
      "pushq %r14\n"
      "pushq %r15\n"
      "movq %rsp, (%rdi)\n"
      "movq (%rsi), %rsp\n"
      "popq %r15\n"
      "popq %r14\n"
      "popq %r13\n"
      "popq %r12\n"
      "popq %rbx\n"
      "popq %rbp\n"
      "popq %rcx\n"
      "jmp *%rcx");
}

// The next switch to `context` calls `entry`, which must not return, on the stack that ends at `top`.
SIMT_NO_TSAN inline void begin_at(Context* context, char* /*bottom*/, char* top, void (*entry)()) {
  constexpr int kSavedRegisters = 6;
  void** frame = reinterpret_cast<void**>(top);  // aligned to 16 bytes
  *--frame = nullptr;                            // the return address of entry: ends a debugger's backtrace
  *--frame = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kSavedRegisters; i++) *--frame = nullptr;
  context->stack_pointer = frame;
}

#endif

}  // namespace simt
