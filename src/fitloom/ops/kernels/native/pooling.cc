// SPDX-License-Identifier: Apache-2.0
// Max-pooling of channels-last data in one to three dimensions: the largest value of each window and, in one
// byte, which place of the window it came from; and the gradient, which follows that byte.
//
// Work is cut into ranges of outermost positions of one image. In the gradient an image is never divided
// between threads, so overlapping windows need no care.
#include <cstring>
#include <vector>

#include "runtime.h"

namespace fitloom {
namespace {

using Bytes = ffi::Buffer<ffi::U8>;
using ByteResult = ffi::Result<Bytes>;

constexpr int kDims = 3;
constexpr int64_t kMostPlaces = 64;

// Unused leading dimensions have size 1.
struct Windows {
  int64_t batch, channels;
  int64_t in[kDims], out[kDims], window[kDims], stride[kDims], low[kDims];

  template <class Dims>
  Windows(const Dims& x, const Dims& y, Int64s windows, Int64s strides, Int64s lows) {
    const int64_t rank = static_cast<int64_t>(x.size()), ndim = rank - 2;
    expect(ndim >= 1 && ndim <= kDims && static_cast<int64_t>(y.size()) == rank, "one to three spatial dimensions");
    expect(static_cast<int64_t>(windows.size()) == ndim && static_cast<int64_t>(strides.size()) == ndim &&
               static_cast<int64_t>(lows.size()) == ndim,
           "one window, stride and padding for each dimension");
    batch = x[0];
    channels = x[rank - 1];
    expect(y[0] == batch && y[rank - 1] == channels, "batch sizes or channels differ");
    int64_t places = 1;
    for (int d = 0; d < kDims; d++) {
      const int64_t s = d - (kDims - ndim);
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
    for (int d = 0; d < kDims; d++)
      if (window[d] < stride[d] || (out[d] - 1) * stride[d] - low[d] + window[d] < in[d]) return false;
    return true;
  }
  // The places of the window at output o that lie inside the image.
  void inside(int d, int64_t o, int64_t* from, int64_t* to) const {
    const int64_t start = o * stride[d] - low[d];
    *from = std::max<int64_t>(0, -start);
    *to = std::min(window[d], in[d] - start);
  }

  // Calls f(places, output) for outputs of rows [first, last), counted over the two outer dimensions, each time for
  // as many neighbours as see the same places of their windows.
  template <class F>
  void walk(int64_t first, int64_t last, const F& f) const {
    ptrdiff_t offset[kMostPlaces];
    uint8_t number[kMostPlaces];
    for (int64_t row = first; row < last; row++) {
      const int64_t i = row / out[1], j = row % out[1];
      int64_t from[kDims], to[kDims];
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

// x (batch, *in, channels) -> the largest value of each window, and its place in row-major order
ffi::Error max_pool(ffi::ThreadPool pool, Floats x, FloatResult y, ByteResult winner, Int64s windows, Int64s strides,
                    Int64s lows) {
  return guarded("max_pool", [&] {
    const Windows w(x.dimensions(), y->dimensions(), windows, strides, lows);
    expect(winner->element_count() == y->element_count(), "one place for each largest value");
    if (y->element_count() == 0) return;
    const int64_t rows = w.out[0] * w.out[1], workers = threads(pool);
    const int64_t parts = std::max<int64_t>(1, std::min(rows, 4 * workers / w.batch));
    parallel(pool, w.batch * parts, workers, [&](int64_t item, int64_t) {
      const int64_t image = item / parts, part = item % parts;
      const float* from = x.typed_data() + image * w.in_floats();
      float* to = y->typed_data() + image * w.out_floats();
      uint8_t* place = winner->typed_data() + image * w.out_floats();
      w.walk(share(rows, part, parts), share(rows, part + 1, parts), [&](const PoolingRun& run, int64_t output) {
        loops()->max_pool(run, from, to + output, place + output);
      });
    });
  });
}

ffi::Error max_pool_gradient(ffi::ThreadPool pool, Floats dy, Bytes winner, FloatResult dx, Int64s windows,
                             Int64s strides, Int64s lows) {
  return guarded("max_pool_gradient", [&] {
    const Windows w(dx->dimensions(), dy.dimensions(), windows, strides, lows);
    expect(winner.element_count() == dy.element_count(), "one place for each largest value");
    if (dx->element_count() == 0) return;
    const bool add = w.overlap(), clear = add || !w.cover();
    parallel(pool, w.batch, threads(pool), [&](int64_t image, int64_t) {
      float* to = dx->typed_data() + image * w.in_floats();
      const float* from = dy.typed_data() + image * w.out_floats();
      const uint8_t* place = winner.typed_data() + image * w.out_floats();
      if (clear) std::memset(to, 0, w.in_floats() * sizeof(float));
      w.walk(0, w.out[0] * w.out[1], [&](const PoolingRun& run, int64_t output) {
        loops()->max_pool_gradient(run, from + output, place + output, add, to);
      });
    });
  });
}

}  // namespace
}  // namespace fitloom

#pragma GCC visibility push(default)

#define POOLING_ATTRIBUTES                                                                          \
  Attr<::fitloom::Int64s>("window").Attr<::fitloom::Int64s>("strides").Attr<::fitloom::Int64s>("lows")

XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_max_pool, ::fitloom::max_pool,
                              ::xla::ffi::Ffi::Bind()
                                  .Ctx<::xla::ffi::ThreadPool>()
                                  .Arg<::fitloom::Floats>()
                                  .Ret<::fitloom::Floats>()
                                  .Ret<::fitloom::Bytes>()
                                  .POOLING_ATTRIBUTES);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_max_pool_gradient, ::fitloom::max_pool_gradient,
                              ::xla::ffi::Ffi::Bind()
                                  .Ctx<::xla::ffi::ThreadPool>()
                                  .Arg<::fitloom::Floats>()
                                  .Arg<::fitloom::Bytes>()
                                  .Ret<::fitloom::Floats>()
                                  .POOLING_ATTRIBUTES);

#pragma GCC visibility pop
