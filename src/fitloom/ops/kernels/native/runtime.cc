// SPDX-License-Identifier: Apache-2.0
#include "runtime.h"

namespace fitloom {

static const InnerLoops* choose() {
  // For tests: FITLOOM_NATIVE_SET names the version to run, if this processor has it.
  const char* wanted = std::getenv("FITLOOM_NATIVE_SET");
  const auto allowed = [&](const char* name) { return !wanted || std::string(wanted) == name; };
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (allowed("avx512") && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma"))
    return inner_loops_avx512();
  if (allowed("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return inner_loops_avx2();
#elif defined(__aarch64__)
  if (allowed("neon")) return inner_loops_neon();
#endif
  return nullptr;
}

const InnerLoops* loops() {
  static const InnerLoops* const chosen = choose();
  return chosen;
}

}  // namespace fitloom

// The instruction set in use, "" if there is none for this processor. For Python.
extern "C" __attribute__((visibility("default"))) const char* fitloom_instruction_set() {
  const fitloom::InnerLoops* loops = fitloom::loops();
  return loops ? loops->name : "";
}
