// The kernels with planted defects as a program, for the sanitizers. DEFECT in the environment says which is
// planted; the variables of host/config.h choose the schedule. After it, the kernels without defect must
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
