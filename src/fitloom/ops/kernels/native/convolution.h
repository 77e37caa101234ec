// SPDX-License-Identifier: Apache-2.0
// What the direct and the Winograd convolutions share.
#pragma once

#include <vector>

#include "runtime.h"

namespace fitloom {

constexpr int kDims = 3;
// The sums of the weight gradient that threads keep for themselves may take this much together.
constexpr int64_t kMostPartialFloats = int64_t{64} << 20;

struct Geometry {
  int64_t batch, in_channels, out_channels, groups;
  // For each dimension, the outermost first; unused leading dimensions have size 1.
  int64_t in[kDims], out[kDims], kernel[kDims], stride[kDims], dilation[kDims], low[kDims];

  int64_t in_positions() const { return in[0] * in[1] * in[2]; }
  int64_t out_positions() const { return out[0] * out[1] * out[2]; }
  int64_t places() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t group_in() const { return in_channels / groups; }
  int64_t group_out() const { return out_channels / groups; }
};

// Adds the sums of all threads up: sums[0] is the result itself.
inline void add_partial_sums(ffi::ThreadPool& pool, float* result, const float* partial, int64_t floats,
                      int64_t stride, int64_t count) {
  const int64_t parts = std::max<int64_t>(1, std::min(threads(pool), floats / 4096));
  parallel(pool, parts, threads(pool), [&](int64_t part, int64_t) {
    const int64_t first = share(floats, part, parts), last = share(floats, part + 1, parts);
    for (int64_t i = 0; i < count; i++)
      loops()->add(last - first, partial + i * stride + first, result + first);
  });
}

// What a gradient reads: that of the result, and, if y is given, zero where y is not positive: then dy is the gradient
// of max(result, 0) and y that maximum.
struct Signal {
  const float* dy;
  const float* y;
};

// What is done to each result before it is stored.
struct Finish {
  const float* bias;  // one for each output channel, or nullptr
  bool relu;          // negative results become zero
};

// Winograd's algorithm for 3x3 kernels with stride 1 needs 2.25 times fewer multiplications.
bool winograd_fits(const Geometry& g);
void winograd_forward(ffi::ThreadPool& pool, const Geometry& g, const float* x, const float* w, const Finish& finish,
                      float* y);
void winograd_input_gradient(ffi::ThreadPool& pool, const Geometry& g, const float* w, const Signal& signal, float* dx);
// `sums`, if not empty, gets the sums of the signal for each output channel.
void winograd_weight_gradient(ffi::ThreadPool& pool, const Geometry& g, const float* x, const Signal& signal,
                              float* dw, std::vector<double>& sums);

}  // namespace fitloom
