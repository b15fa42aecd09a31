// What a launch throws, on both sides.
#pragma once

#include <stdexcept>

namespace simt {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace simt
