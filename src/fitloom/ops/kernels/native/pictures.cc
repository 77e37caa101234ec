// SPDX-License-Identifier: Apache-2.0
// Bilinear resizing of one picture (height, width, channels of uint8) to float32, for the input pipeline: called from
// its threads through ctypes, which lets go of Python's lock. The same operations in the same order as the NumPy form
// (ops/host_resizing.py), so both give the same bits.
#include <cstdint>
#include <vector>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#endif

namespace {

// out = top + (bottom - top) * share, one row of n values
void between_rows(const uint8_t* __restrict top, const uint8_t* __restrict bottom, float share, int64_t n,
                  float* __restrict out) {
  for (int64_t i = 0; i < n; i++) {
    const float low = top[i], high = bottom[i];
    out[i] = (high - low) * share + low;
  }
}

template <int Channels>
void between_columns(const float* __restrict row, const int32_t* left, const int32_t* right, const float* share,
                     int64_t width, int64_t channels, int64_t pixel, float* __restrict out) {
  const int64_t count = Channels ? Channels : channels;
  for (int64_t x = 0; x < width; x++) {
    const float* low = row + left[x] * pixel;
    const float* high = row + right[x] * pixel;
    for (int64_t c = 0; c < count; c++) out[c] = (high[c] - low[c]) * share[x] + low[c];
    out += count;
  }
}

}  // namespace

// source (., source_width, pixel), of which the first `channels` bytes of each pixel count; top, bottom, down: for each
// row of the result; left, right, across: for each column
extern "C" __attribute__((visibility("default"))) void fitloom_resize_pixels(
    const uint8_t* source, int64_t source_width, int64_t pixel, int64_t channels, const int32_t* top, const int32_t* bottom,
    const float* down, int64_t height, const int32_t* left, const int32_t* right, const float* across, int64_t width,
    float* out) {
  const int64_t stride = source_width * pixel;
  std::vector<float> row(stride);
  for (int64_t y = 0; y < height; y++) {
    between_rows(source + top[y] * stride, source + bottom[y] * stride, down[y], stride, row.data());
    float* target = out + y * width * channels;
    if (channels == 3)
      between_columns<3>(row.data(), left, right, across, width, 3, pixel, target);
    else if (channels == 1)
      between_columns<1>(row.data(), left, right, across, width, 1, pixel, target);
    else
      between_columns<0>(row.data(), left, right, across, width, channels, pixel, target);
  }
}
