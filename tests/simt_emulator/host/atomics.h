// Atomic operations on global and shared memory, and fences.
#pragma once

#include <type_traits>

#include "sanitizers.h"

namespace simt {

// Returns the value before `change`.
template <class T, class Change>
T update_atomically(T* address, Change change) {
  T before, after;
  __atomic_load(address, &before, __ATOMIC_RELAXED);
  do {
    after = change(before);
  } while (!__atomic_compare_exchange(address, &before, &after, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return before;
}

inline char fence;

}  // namespace simt

template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return simt::update_atomically(address, [=](T before) { return before + value; });
}
template <class T>
T atomicSub(T* address, std::type_identity_t<T> value) {
  return simt::update_atomically(address, [=](T before) { return before - value; });
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return simt::update_atomically(address, [=](T before) { return value < before ? value : before; });
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return simt::update_atomically(address, [=](T before) { return before < value ? value : before; });
}
template <class T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return simt::update_atomically(address, [=](T before) { return before & value; });
}
template <class T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return simt::update_atomically(address, [=](T before) { return before | value; });
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return simt::update_atomically(address, [=](T) { return value; });
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return simt::update_atomically(address, [=](T before) { return before == expected ? value : before; });
}
// Counts up to `last`, then starts again at zero.
inline unsigned atomicInc(unsigned* address, unsigned last) {
  return simt::update_atomically(address, [=](unsigned before) { return before >= last ? 0 : before + 1; });
}

// ThreadSanitizer does not model fences. Here it sees every fence order the accesses before it before the
// accesses after any later fence.
inline void __threadfence() {
#if SIMT_TSAN
  simt::acquire(&simt::fence);
  simt::release(&simt::fence);
#else
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}
inline void __threadfence_block() { __threadfence(); }
