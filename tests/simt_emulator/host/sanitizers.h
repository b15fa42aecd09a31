// Annotations of fibers and shared memory for AddressSanitizer and ThreadSanitizer. Without sanitizers all of
// them are empty.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#define SIMT_HAS_FEATURE(x) __has_feature(x)
#else
#define SIMT_HAS_FEATURE(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || SIMT_HAS_FEATURE(address_sanitizer)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define SIMT_ASAN 1
#else
#define SIMT_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__) || SIMT_HAS_FEATURE(thread_sanitizer)
#define SIMT_TSAN 1
// Declared here because older compilers lack the header with the functions for fibers.
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_set_fiber_name(void* fiber, const char* name);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#else
#define SIMT_TSAN 0
#endif

// Fibers share the emulator's internal state, and ThreadSanitizer treats them as concurrent threads. It must
// see the kernel's accesses, but not the emulator's.
#if SIMT_TSAN
#define SIMT_NO_TSAN __attribute__((no_sanitize("thread")))
#else
#define SIMT_NO_TSAN
#endif
#if SIMT_ASAN
#define SIMT_NO_ASAN __attribute__((no_sanitize("address")))
#else
#define SIMT_NO_ASAN
#endif

namespace simt {

// ---- ThreadSanitizer: the running fiber, and happens-before

SIMT_NO_TSAN inline void acquire([[maybe_unused]] void* address) {
#if SIMT_TSAN
  __tsan_acquire(address);
#endif
}

SIMT_NO_TSAN inline void release([[maybe_unused]] void* address) {
#if SIMT_TSAN
  __tsan_release(address);
#endif
}

inline void* new_tsan_fiber([[maybe_unused]] const char* name) {
#if SIMT_TSAN
  void* fiber = __tsan_create_fiber(0);
  __tsan_set_fiber_name(fiber, name);
  return fiber;
#else
  return nullptr;
#endif
}

inline void delete_tsan_fiber([[maybe_unused]] void* fiber) {
#if SIMT_TSAN
  __tsan_destroy_fiber(fiber);
#endif
}

inline void* this_tsan_fiber() {
#if SIMT_TSAN
  return __tsan_get_current_fiber();
#else
  return nullptr;
#endif
}

// The flag says that a switch does not synchronise: fibers are concurrent, like CUDA threads.
SIMT_NO_TSAN inline void tsan_switch([[maybe_unused]] void* to) {
#if SIMT_TSAN
  __tsan_switch_to_fiber(to, 1);
#endif
}

// ---- AddressSanitizer: the stack in use, and valid shared memory

// `saved` stores the state of the stack that is left; null if it is never resumed.
SIMT_NO_TSAN inline void asan_leave([[maybe_unused]] void** saved, [[maybe_unused]] const void* stack,
                                    [[maybe_unused]] size_t bytes) {
#if SIMT_ASAN
  __sanitizer_start_switch_fiber(saved, stack, bytes);
#endif
}

SIMT_NO_TSAN inline void asan_arrive([[maybe_unused]] void* saved, [[maybe_unused]] const void** left_stack,
                                     [[maybe_unused]] size_t* left_bytes) {
#if SIMT_ASAN
  __sanitizer_finish_switch_fiber(saved, left_stack, left_bytes);
#endif
}

inline void forbid_access([[maybe_unused]] void* at, [[maybe_unused]] size_t bytes) {
#if SIMT_ASAN
  ASAN_POISON_MEMORY_REGION(at, bytes);
#endif
}

inline void allow_access([[maybe_unused]] void* at, [[maybe_unused]] size_t bytes) {
#if SIMT_ASAN
  ASAN_UNPOISON_MEMORY_REGION(at, bytes);
#endif
}

}  // namespace simt
