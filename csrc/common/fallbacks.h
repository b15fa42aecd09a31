// The ops whose reference ran in place of a kernel in this process, with the reasons, for a run's report.
#pragma once

#include <map>
#include <mutex>
#include <string>

namespace arsbench {

class Fallbacks {
 public:
  static Fallbacks& instance() {
    static Fallbacks one;
    return one;
  }

  // Returns whether this reason is new for the op; an op may have several.
  bool add(const std::string& op, const std::string& why) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::string& reasons = reasons_[op];
    if (("; " + reasons + ";").find("; " + why + ";") != std::string::npos) return false;
    reasons += (reasons.empty() ? "" : "; ") + why;
    return true;
  }

  // By op, the reasons separated by semicolons.
  std::map<std::string, std::string> all() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return reasons_;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> reasons_;
};

}  // namespace arsbench
