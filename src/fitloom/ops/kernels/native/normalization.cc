// SPDX-License-Identifier: Apache-2.0
// The sums of batch normalization over channels-last data, each in one pass.
//
// Blocks of rows are summed in float32 and the blocks in float64, so the error does not grow with the
// number of rows, and the result does not depend on the number of threads.
#include <vector>

#include "runtime.h"

namespace fitloom {
namespace {

constexpr int64_t kBlockRows = 256;
constexpr int64_t kBlocksPerItem = 8;

// x (rows, channels). Calls block(first row, rows, worker's sums (2 * channels)) for each block of rows,
// and adds what it leaves there up in float64: 2 * channels numbers.
template <class Block>
std::vector<double> channel_sums(ffi::ThreadPool& pool, int64_t rows, int64_t channels, const Block& block) {
  const int64_t item_rows = kBlockRows * kBlocksPerItem;
  const int64_t items = (rows + item_rows - 1) / item_rows, workers = threads(pool);
  std::vector<double> sums(items * 2 * channels, 0.0);
  Scratch scratch(workers * aligned_floats(2 * channels));
  parallel(pool, items, workers, [&](int64_t item, int64_t worker) {
    float* part = scratch.get() + worker * aligned_floats(2 * channels);
    double* sum = sums.data() + item * 2 * channels;
    const int64_t end = std::min(rows, (item + 1) * item_rows);
    for (int64_t row = item * item_rows; row < end; row += kBlockRows) {
      block(row, std::min(kBlockRows, end - row), part);
      for (int64_t j = 0; j < 2 * channels; j++) sum[j] += part[j];
    }
  });
  std::vector<double> total(2 * channels, 0.0);
  for (int64_t item = 0; item < items; item++)
    for (int64_t j = 0; j < 2 * channels; j++) total[j] += sums[item * 2 * channels + j];
  return total;
}

// x (rows, channels) -> mean and biased variance of each channel
ffi::Error channel_moments(ffi::ThreadPool pool, Floats x, FloatResult mean, FloatResult variance) {
  return guarded("channel_moments", [&] {
    const auto d = x.dimensions();
    expect(d.size() == 2 && d[0] > 0, "a matrix with at least one row");
    const int64_t rows = d[0], channels = d[1];
    expect(mean->element_count() == static_cast<size_t>(channels) &&
               variance->element_count() == static_cast<size_t>(channels),
           "shapes of the results");
    // Deviations from the first row: the variance keeps its digits where the mean is large.
    const float* a = x.typed_data();
    const auto total = channel_sums(pool, rows, channels, [&](int64_t first, int64_t count, float* part) {
      loops()->channel_moments(count, channels, a + first * channels, a, part, part + channels);
    });
    for (int64_t j = 0; j < channels; j++) {
      const double m = total[j] / rows, v = total[channels + j] / rows - m * m;
      mean->typed_data()[j] = static_cast<float>(a[j] + m);
      variance->typed_data()[j] = v < 0 ? 0.0f : static_cast<float>(v);
    }
  });
}

// dy, x (rows, channels), mean (channels) -> sums of dy and of dy * (x - mean)
ffi::Error channel_products(ffi::ThreadPool pool, Floats dy, Floats x, Floats mean, FloatResult sum,
                            FloatResult product) {
  return guarded("channel_products", [&] {
    const auto d = x.dimensions();
    expect(d.size() == 2 && dy.element_count() == x.element_count(), "two matrices of one shape");
    const int64_t rows = d[0], channels = d[1];
    expect(mean.element_count() == static_cast<size_t>(channels) &&
               sum->element_count() == static_cast<size_t>(channels) &&
               product->element_count() == static_cast<size_t>(channels),
           "one mean, sum and product for each channel");
    const auto total = channel_sums(pool, rows, channels, [&](int64_t first, int64_t count, float* part) {
      loops()->channel_products(count, channels, x.typed_data() + first * channels, mean.typed_data(),
                                dy.typed_data() + first * channels, part, part + channels);
    });
    for (int64_t j = 0; j < channels; j++) {
      sum->typed_data()[j] = static_cast<float>(total[j]);
      product->typed_data()[j] = static_cast<float>(total[channels + j]);
    }
  });
}

}  // namespace
}  // namespace fitloom

#pragma GCC visibility push(default)

#define BINDING ::xla::ffi::Ffi::Bind().Ctx<::xla::ffi::ThreadPool>()
#define IN Arg<::fitloom::Floats>()
#define OUT Ret<::fitloom::Floats>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_channel_moments, ::fitloom::channel_moments, BINDING.IN.OUT.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_channel_products, ::fitloom::channel_products,
                              BINDING.IN.IN.IN.OUT.OUT);

#pragma GCC visibility pop
