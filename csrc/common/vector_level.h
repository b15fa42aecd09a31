// Wide vectors, selected at run time: one build runs on every x86-64 and Arm machine and uses its vector
// instructions.
//
// A loop is written once, as a struct whose static function `run` is ARSBENCH_INLINE together with everything
// it calls. run_widest<Loop>(arguments...) contains one copy of that code per vector level, compiled with the
// level's instructions, and calls the widest that the machine supports. On Arm, NEON is part of the baseline.
#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>

#define ARSBENCH_INLINE inline __attribute__((always_inline))

namespace arsbench {

enum class VectorLevel { baseline, avx2, avx512 };

constexpr const char* name_of(VectorLevel level) {
  return level == VectorLevel::avx512 ? "avx512" : level == VectorLevel::avx2 ? "avx2" : "baseline";
}

inline VectorLevel detect_vector_level() {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx2) return avx512 ? VectorLevel::avx512 : VectorLevel::avx2;
#endif
  return VectorLevel::baseline;
}

// The vector level in use: the machine's level, or a lower one set by the environment variable ARSBENCH_CPU.
inline VectorLevel vector_level() {
  static const VectorLevel level = [] {
    const VectorLevel detected = detect_vector_level();
    const char* wanted = std::getenv("ARSBENCH_CPU");
    if (wanted == nullptr || *wanted == '\0') return detected;
    for (VectorLevel candidate : {VectorLevel::baseline, VectorLevel::avx2, VectorLevel::avx512})
      if (candidate <= detected && std::string(wanted) == name_of(candidate)) return candidate;
    throw std::runtime_error("ARSBENCH_CPU is \"" + std::string(wanted) +
                             "\"; on this machine it may be baseline or any of avx2, avx512 up to " +
                             name_of(detected));
  }();
  return level;
}

#if defined(__x86_64__)
template <class Loop, class... Arguments>
__attribute__((target("avx2,fma"))) auto run_avx2(Arguments... arguments) {
  return Loop::run(arguments...);
}

template <class Loop, class... Arguments>
__attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"))) auto run_avx512(
    Arguments... arguments) {
  return Loop::run(arguments...);
}
#endif

// As run_widest, for a loop that depends on the level: a template of it.
template <template <VectorLevel> class Loop, class... Arguments>
auto run_at_widest(Arguments... arguments) {
#if defined(__x86_64__)
  switch (vector_level()) {
    case VectorLevel::avx512:
      return run_avx512<Loop<VectorLevel::avx512>>(arguments...);
    case VectorLevel::avx2:
      return run_avx2<Loop<VectorLevel::avx2>>(arguments...);
    case VectorLevel::baseline:
      break;
  }
#endif
  return Loop<VectorLevel::baseline>::run(arguments...);
}

template <class Loop, class... Arguments>
auto run_widest(Arguments... arguments) {
#if defined(__x86_64__)
  switch (vector_level()) {
    case VectorLevel::avx512:
      return run_avx512<Loop>(arguments...);
    case VectorLevel::avx2:
      return run_avx2<Loop>(arguments...);
    case VectorLevel::baseline:
      break;
  }
#endif
  return Loop::run(arguments...);
}

}  // namespace arsbench
