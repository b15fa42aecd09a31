// The module arsbench._C. Importing it registers the compiled kernels; Python calls only the functions below.
#include <ATen/Parallel.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/version.h>

#include "common/fallbacks.h"
#include "common/products.h"
#include "common/vector_level.h"

#define ARSBENCH_QUOTE(text) #text
#define ARSBENCH_QUOTED(macro) ARSBENCH_QUOTE(macro)

namespace {

pybind11::dict build_info() {
  pybind11::dict info;
  info["version"] = ARSBENCH_QUOTED(ARSBENCH_VERSION);
#if defined(__clang__)
  info["compiler"] = "clang " __clang_version__;
#else
  info["compiler"] = "gcc " __VERSION__;
#endif
  info["torch"] = TORCH_VERSION;
#if defined(_OPENMP)
  info["openmp"] = true;
#else
  info["openmp"] = false;
#endif
#if defined(ARSBENCH_WITH_CUDA)
  info["cuda"] = true;
#else
  info["cuda"] = false;
#endif
  info["cpu_capability"] = arsbench::name_of(arsbench::vector_level());
  info["bf16_products"] = arsbench::bfloat16_products();
  info["products"] = std::string("float32: ") + arsbench::name_of(arsbench::library_for(at::kFloat)) +
                     ", bfloat16: " + arsbench::name_of(arsbench::library_for(at::kBFloat16));
  return info;
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("build_info", &build_info,
             "How this module was built, and its vector level and bf16 products on this machine.");
  module.def(
      "multiply_adds",
      [](bool bfloat16, int64_t rounds) {
        return arsbench::multiply_adds(bfloat16 ? at::kBFloat16 : at::kFloat, rounds);
      },
      pybind11::arg("bfloat16"), pybind11::arg("rounds"),
      "Executes multiply-adds in registers on all threads and returns the number of flops; for benchmarks.");
  module.def(
      "fallbacks", [] { return arsbench::Fallbacks::instance().all(); },
      "The ops whose reference has run in place of a kernel so far, with the reasons.");
}
