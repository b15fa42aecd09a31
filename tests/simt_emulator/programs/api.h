// Shared code of the C entry points for the Python tests. An entry point takes only void*, int64_t and
// double, and returns null or an error message.
#pragma once

#include <cstdint>
#include <exception>
#include <string>

#include "simt/simt.h"

#define SIMT_API extern "C" __attribute__((visibility("default")))

template <class Function>
const char* reported(Function function) {
  static thread_local std::string text;
  try {
    function();
    return nullptr;
  } catch (const std::exception& error) {
    text = error.what();
    return text.c_str();
  }
}

SIMT_API const char* simt_schedule(int64_t seed, int64_t cp_async, int64_t threads) {
  auto& config = simt::config();
  config.seed = static_cast<unsigned>(seed);
  config.cp_async = static_cast<int>(cp_async);
  config.threads = static_cast<unsigned>(threads);
  return nullptr;
}
