// SPDX-License-Identifier: Apache-2.0
// The windows of max-pooling over channels-last data in one to three dimensions.
#pragma once

#include <cstring>

#include "runtime.h"

namespace fitloom {

using Bytes = ffi::Buffer<ffi::U8>;
using ByteResult = ffi::Result<Bytes>;

constexpr int kPoolDims = 3;
constexpr int64_t kMostPlaces = 64;

// Unused leading dimensions have size 1.
struct Windows {
  int64_t batch, channels;
  int64_t in[kPoolDims], out[kPoolDims], window[kPoolDims], stride[kPoolDims], low[kPoolDims];

  template <class Dims>
  Windows(const Dims& x, const Dims& y, Int64s windows, Int64s strides, Int64s lows) {
    const int64_t rank = static_cast<int64_t>(x.size()), ndim = rank - 2;
    expect(ndim >= 1 && ndim <= kPoolDims && static_cast<int64_t>(y.size()) == rank, "one to three spatial dimensions");
    expect(static_cast<int64_t>(windows.size()) == ndim && static_cast<int64_t>(strides.size()) == ndim &&
               static_cast<int64_t>(lows.size()) == ndim,
           "one window, stride and padding for each dimension");
    batch = x[0];
    channels = x[rank - 1];
    expect(y[0] == batch && y[rank - 1] == channels, "batch sizes or channels differ");
    int64_t places = 1;
    for (int d = 0; d < kPoolDims; d++) {
      const int64_t s = d - (kPoolDims - ndim);
      const bool used = s >= 0;
      in[d] = used ? x[s + 1] : 1;
      out[d] = used ? y[s + 1] : 1;
      window[d] = used ? windows[s] : 1;
      stride[d] = used ? strides[s] : 1;
      low[d] = used ? lows[s] : 0;
      expect(window[d] >= 1 && stride[d] >= 1 && low[d] >= 0 && window[d] <= kMostPlaces, "windows and strides");
      expect(out[d] == 0 || (low[d] < window[d] && (out[d] - 1) * stride[d] - low[d] < in[d]),
             "each window sees the image");
      places *= window[d];
    }
    expect(places <= kMostPlaces, "windows of at most 64 places");
  }
  int64_t in_floats() const { return in[0] * in[1] * in[2] * channels; }
  int64_t out_floats() const { return out[0] * out[1] * out[2] * channels; }
  bool overlap() const {
    return window[0] > stride[0] || window[1] > stride[1] || window[2] > stride[2];
  }
  // Whether every position of the image lies in a window.
  bool cover() const {
    for (int d = 0; d < kPoolDims; d++)
      if (window[d] < stride[d] || (out[d] - 1) * stride[d] - low[d] + window[d] < in[d]) return false;
    return true;
  }
  // The places of the window at output o that lie inside the image.
  void inside(int d, int64_t o, int64_t* from, int64_t* to) const {
    const int64_t start = o * stride[d] - low[d];
    *from = std::max<int64_t>(0, -start);
    *to = std::min(window[d], in[d] - start);
  }

  // How many positions of the image, in their order, the windows of rows up to `row` see.
  int64_t reach(int64_t row) const {
    const auto last = [&](int d, int64_t o) { return std::min(in[d], o * stride[d] - low[d] + window[d]) - 1; };
    return (last(0, row / out[1]) * in[1] + last(1, row % out[1]) + 1) * in[2];
  }

  // Calls f(run, output) for outputs of rows [first, last), counted over the two outer dimensions, each time for
  // as many neighbours as see the same places of their windows.
  template <class F>
  void walk(int64_t first, int64_t last, const F& f) const {
    ptrdiff_t offset[kMostPlaces];
    uint8_t number[kMostPlaces];
    for (int64_t row = first; row < last; row++) {
      const int64_t i = row / out[1], j = row % out[1];
      int64_t from[kPoolDims], to[kPoolDims];
      inside(0, i, from, to);
      inside(1, j, from + 1, to + 1);
      for (int64_t k = 0, next; k < out[2]; k = next) {
        inside(2, k, from + 2, to + 2);
        for (next = k + 1; next < out[2]; next++) {
          int64_t a, b;
          inside(2, next, &a, &b);
          if (a != from[2] || b != to[2]) break;
        }
        PoolingRun run;
        run.places = 0;
        for (int64_t a = from[0]; a < to[0]; a++)
          for (int64_t b = from[1]; b < to[1]; b++)
            for (int64_t c = from[2]; c < to[2]; c++) {
              const int64_t position = ((i * stride[0] - low[0] + a) * in[1] + j * stride[1] - low[1] + b) * in[2] +
                                       k * stride[2] - low[2] + c;
              offset[run.places] = position * channels;
              number[run.places++] = static_cast<uint8_t>((a * window[1] + b) * window[2] + c);
            }
        run.place = offset;
        run.number = number;
        run.outputs = next - k;
        run.step = stride[2] * channels;
        run.channels = channels;
        f(run, (row * out[2] + k) * channels);
      }
    }
  }
};

// The largest values of one image's windows and their places, for rows [first, last) of windows.
inline void largest(const Windows& w, const float* x, int64_t first, int64_t last, float* y, uint8_t* winner) {
  w.walk(first, last, [&](const PoolingRun& run, int64_t output) {
    loops()->max_pool(run, x, y + output, winner + output);
  });
}

// The gradient of one image.
inline void spread(const Windows& w, const float* dy, const uint8_t* winner, float* dx) {
  const bool add = w.overlap();
  if (add || !w.cover()) std::memset(dx, 0, w.in_floats() * sizeof(float));
  w.walk(0, w.out[0] * w.out[1], [&](const PoolingRun& run, int64_t output) {
    loops()->max_pool_gradient(run, dy + output, winner + output, add, dx);
  });
}

}  // namespace fitloom
