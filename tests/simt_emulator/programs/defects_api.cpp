// The kernels with planted defects, called from Python.
#include "api.h"
#include "simt_defects.h"

// `name`: a text that ends with a zero byte.
SIMT_API const char* run_defect(void* name) {
  return reported([&] { run_all(defect_named(static_cast<const char*>(name))); });
}
