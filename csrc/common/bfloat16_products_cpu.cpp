#include <c10/util/Exception.h>

#include <cstdlib>
#include <string>

#include "bfloat16_products.h"

namespace arsbench {

bool bfloat16_products() {
  static const bool chosen = [] {
    const char* wanted = std::getenv("ARSBENCH_BF16_PRODUCTS");
    if (wanted != nullptr && *wanted != '\0') {
      TORCH_CHECK(std::string(wanted) == "0" || std::string(wanted) == "1",
                  "ARSBENCH_BF16_PRODUCTS must be 0 or 1, not \"", wanted, "\"");
      return *wanted == '1';
    }
#if defined(__x86_64__)
    return static_cast<bool>(__builtin_cpu_supports("avx512bf16"));
#else
    return false;
#endif
  }();
  return chosen;
}

}  // namespace arsbench
