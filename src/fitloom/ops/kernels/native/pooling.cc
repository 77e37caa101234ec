// SPDX-License-Identifier: Apache-2.0
// Max-pooling of channels-last data in one to three dimensions: the largest value of each window and, in one
// byte, which place of the window it came from; and the gradient, which follows that byte.
//
// Work is cut into ranges of outermost positions of one image. In the gradient an image is never divided
// between threads, so overlapping windows need no care.
#include "pooling.h"

namespace fitloom {
namespace {

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
      largest(w, from, share(rows, part, parts), share(rows, part + 1, parts), to, place);
    });
  });
}

ffi::Error max_pool_gradient(ffi::ThreadPool pool, Floats dy, Bytes winner, FloatResult dx, Int64s windows,
                             Int64s strides, Int64s lows) {
  return guarded("max_pool_gradient", [&] {
    const Windows w(dx->dimensions(), dy.dimensions(), windows, strides, lows);
    expect(winner.element_count() == dy.element_count(), "one place for each largest value");
    if (dx->element_count() == 0) return;
    parallel(pool, w.batch, threads(pool), [&](int64_t image, int64_t) {
      spread(w, dy.typed_data() + image * w.out_floats(), winner.typed_data() + image * w.out_floats(),
             dx->typed_data() + image * w.in_floats());
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
