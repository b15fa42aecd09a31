// C entry points of the kernels with planted defects.
#include "api.h"
#include "simt_defects.h"

// `name`: a null-terminated string.
SIMT_API const char* run_defect(void* name) {
  return reported([&] { run_all(defect_named(static_cast<const char*>(name))); });
}
