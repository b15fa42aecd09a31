// The kernels with planted defects as a program, for the sanitizers. DEFECT in the environment names the
// defect; the variables of host/config.h select the schedule. Afterwards the kernels without a defect must
// run.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "simt_defects.h"

static bool succeeds(Defect defect) {
  try {
    run_all(defect);
    return true;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return false;
  }
}

int main() {
  const char* name = std::getenv("DEFECT");
  const bool caught = !succeeds(defect_named(name != nullptr ? name : "none"));
  if (!succeeds(Defect::kNone)) return 2;
  return caught ? 1 : 0;
}
