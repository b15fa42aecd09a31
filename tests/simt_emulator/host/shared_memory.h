// A block's shared memory. Every array lies between red zones, and uninitialised memory is NaN, so that a
// read outside an array or before the first write corrupts the result. A write outside an array is detected
// when the block ends.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fiber.h"
#include "sanitizers.h"

namespace simt {

constexpr size_t kMaxStaticShared = 48 * 1024;
constexpr size_t kMaxShared = 227 * 1024;  // compute capability 9.0 and 10.0

class SharedMemory {
 public:
  struct Array {
    const void* key;   // identifies the declaration; null: the dynamic array
    const char* name;  // with its file and line
    char* begin;
    size_t bytes;
  };
  static constexpr unsigned kMaxArrays = 32;

  SharedMemory() : memory_(kBytes) {}

  SIMT_NO_TSAN void begin_block(size_t dynamic_bytes, bool poison) {
    poison_ = poison;
    count_ = 0;
    static_bytes_ = 0;
    end_ = memory_.begin();
    forbid_access(memory_.begin(), memory_.bytes());
    fill(end_, kZone, kZonePattern);
    end_ += kZone;
    if (dynamic_bytes > 0) add(nullptr, "dynamic shared memory", dynamic_bytes);
  }

  // Null if there is no dynamic shared memory, which may still be declared.
  SIMT_NO_TSAN void* dynamic() const {
    return count_ > 0 && arrays_[0].key == nullptr ? arrays_[0].begin : nullptr;
  }

  // The array of a declaration, created by the block's first thread to reach it. Null: not enough memory.
  SIMT_NO_TSAN void* declared(const void* key, const char* name, size_t bytes) {
    for (unsigned i = 0; i < count_; i++) {
      if (arrays_[i].key == key) return arrays_[i].begin;
    }
    static_bytes_ += bytes;
    const size_t dynamic_bytes = dynamic() != nullptr ? arrays_[0].bytes : 0;
    if (static_bytes_ > kMaxStaticShared || static_bytes_ + dynamic_bytes > kMaxShared) return nullptr;
    return count_ < kMaxArrays ? add(key, name, bytes) : nullptr;
  }

  // Whether these bytes lie within one array.
  SIMT_NO_TSAN bool contains(const void* address, size_t bytes) const {
    const char* begin = static_cast<const char*>(address);
    for (unsigned i = 0; i < count_; i++) {
      const Array& array = arrays_[i];
      if (begin >= array.begin && begin + bytes <= array.begin + array.bytes) return true;
    }
    return false;
  }

  // An array whose red zone was overwritten, or null. AddressSanitizer detects the write itself.
  SIMT_NO_TSAN const Array* damaged() const {
#if !SIMT_ASAN
    for (unsigned i = 0; i < count_; i++) {
      const char* end = arrays_[i].begin + arrays_[i].bytes;
      const char* next = i + 1 < count_ ? arrays_[i + 1].begin : end_;
      if (!intact(arrays_[i].begin - kZone, arrays_[i].begin) || !intact(end, next)) return &arrays_[i];
    }
#endif
    return nullptr;
  }

 private:
  static constexpr size_t kAlignment = 128;
  static constexpr size_t kZone = 128;
  static constexpr size_t kBytes = kMaxShared + (kMaxArrays + 1) * (kZone + kAlignment);
  // Both are NaN as bf16, float and double. A kernel is unlikely to compute the red zones' bit pattern.
  static constexpr uint16_t kPoison = 0xffff, kZonePattern = 0xffd5;

  SIMT_NO_TSAN char* add(const void* key, const char* name, size_t bytes) {
    char* begin = end_;
    const size_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    allow_access(begin, bytes);
    if (poison_) fill(begin, bytes, kPoison);
    fill(begin + bytes, padded - bytes + kZone, kZonePattern);
    end_ = begin + padded + kZone;
    arrays_[count_++] = {key, name, begin, bytes};
    return begin;
  }

  // Byte by byte at an odd address. volatile prevents a call of memset, which the sanitizers intercept.
  SIMT_NO_TSAN SIMT_NO_ASAN static void fill(char* begin, size_t bytes, uint16_t pattern) {
    const uint64_t word = 0x0001000100010001u * pattern;
    size_t i = 0;
    for (; i < bytes && (reinterpret_cast<uintptr_t>(begin + i) & 7) != 0; i++) put(begin + i, pattern);
    for (; i + 8 <= bytes; i += 8) *reinterpret_cast<volatile uint64_t*>(begin + i) = word;
    for (; i < bytes; i++) put(begin + i, pattern);
  }

  SIMT_NO_TSAN SIMT_NO_ASAN static void put(char* at, uint16_t pattern) {
    *static_cast<volatile char*>(at) = byte_at(at, pattern);
  }

  SIMT_NO_TSAN SIMT_NO_ASAN static bool intact(const char* begin, const char* end) {
    for (const char* at = begin; at < end; at++) {
      if (*static_cast<const volatile char*>(at) != byte_at(at, kZonePattern)) return false;
    }
    return true;
  }

  // The pattern's low byte lies at even addresses.
  SIMT_NO_TSAN static char byte_at(const char* at, uint16_t pattern) {
    const bool odd = (reinterpret_cast<uintptr_t>(at) & 1) != 0;
    return static_cast<char>(odd ? pattern >> 8 : pattern & 0xff);
  }

  GuardedMemory memory_;
  Array arrays_[kMaxArrays];
  unsigned count_ = 0;
  char* end_ = nullptr;  // end of the last array's red zone
  size_t static_bytes_ = 0;
  bool poison_ = true;
};

}  // namespace simt
