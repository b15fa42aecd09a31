// Stores to memory that is not read again soon.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "vector_level.h"

namespace arsbench {

// Copies n elements with non-temporal stores where the processor has them: unlike an ordinary store, they do
// not fetch the cache line first. Call stream_end() before another thread reads the memory.
template <class T>
ARSBENCH_INLINE void stream(T* to, const T* from, std::int64_t n) {
#if defined(__SSE2__)
  constexpr std::int64_t kVector = sizeof(__m128i) / sizeof(T);
  const auto past = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) % sizeof(__m128i));
  if (past % sizeof(T) == 0) {
    const std::int64_t head = past == 0 ? 0 : kVector - past / static_cast<std::int64_t>(sizeof(T));
    if (head + kVector <= n) {
      std::memcpy(to, from, head * sizeof(T));
      std::int64_t i = head;
      for (; i + kVector <= n; i += kVector) {
        const __m128i value = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
        _mm_stream_si128(reinterpret_cast<__m128i*>(to + i), value);
      }
      to += i, from += i, n -= i;
    }
  }
#endif
  std::memcpy(to, from, n * sizeof(T));
}

// Makes this thread's streamed stores visible to other threads.
ARSBENCH_INLINE void stream_end() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace arsbench
