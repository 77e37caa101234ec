// SPDX-License-Identifier: Apache-2.0
// Convolutions with 3x3 kernels and stride 1 by Winograd's F(2x2, 3x3): see inner_loops.h for the
// formulas. The factors are 1 and 1/2 only, so the error is about that of the direct sum (measured in
// tests/ops/kernels/test_native.py); what differs is that a huge or infinite input can disturb up to
// three neighbouring outputs which do not depend on it.
//
// A block of tiles, taken from one image or several, is transformed into 16 matrices (tiles x
// channels), each is multiplied with its matrix of transformed kernels, and the results are
// transformed back, all within the second-level cache.
#include <cstring>

#include "convolution.h"

namespace fitloom {
namespace {

// Bytes of the two sets of transformed tiles of a block, which stay in the second-level cache (1 MiB
// where this was measured). The weight gradient adds each block to 16 matrices, so larger ones pay.
constexpr int64_t kBlockBytes = 192 << 10;
constexpr int64_t kGradientBlockBytes = 768 << 10;
// With fewer channels the products are too thin, with fewer tiles the kernels' transform costs more
// than it saves.
constexpr int64_t kLeastChannels = 32;
constexpr int64_t kLeastTiles = 64;

// Images cut into overlapping 4x4 tiles, two positions apart, and the 2x2 tiles they yield.
struct Tiles {
  int64_t batch, in[2], out[2], low[2];
  int64_t count[2];

  Tiles(int64_t batch, const int64_t* in_sizes, const int64_t* out_sizes, const int64_t* lows)
      : batch(batch) {
    for (int d = 0; d < 2; d++) {
      in[d] = in_sizes[d];
      out[d] = out_sizes[d];
      low[d] = lows[d];
      count[d] = (out[d] + 1) / 2;
    }
  }
  int64_t all() const { return batch * count[0] * count[1]; }
};

// Where a tile lies.
struct Tile {
  int64_t image, row, column;  // of the first output
  Tile(const Tiles& tiles, int64_t number) {
    column = number % tiles.count[1] * 2;
    row = number / tiles.count[1] % tiles.count[0] * 2;
    image = number / (tiles.count[1] * tiles.count[0]);
  }
};

void transform_input(const Tiles& tiles, const Tile& tile, const Signal& image, int64_t channels, float* points) {
  const int64_t row = tile.row - tiles.low[0], column = tile.column - tiles.low[1];
  const int64_t begin = ((tile.image * tiles.in[0] + row) * tiles.in[1] + column) * channels;
  TileRange inside;
  inside.first_row = std::max<int64_t>(0, -row);
  inside.last_row = std::min<int64_t>(4, tiles.in[0] - row);
  inside.first_column = std::max<int64_t>(0, -column);
  inside.last_column = std::min<int64_t>(4, tiles.in[1] - column);
  loops()->winograd_input(channels, image.dy + begin, image.y ? image.y + begin : nullptr, tiles.in[1] * channels,
                          inside, points);
}

// Memory of one worker, and the tiles it takes at a time.
struct Block {
  int64_t tiles, in_tile, out_tile, floats;
  Block(int64_t in_channels, int64_t out_channels, int64_t bytes, int64_t most) {
    // A distance of a power of two would put the same point of all tiles into the same cache sets.
    in_tile = aligned_floats(kPoints * in_channels) + 16;
    out_tile = aligned_floats(kPoints * out_channels) + 16;
    tiles = bytes / static_cast<int64_t>(sizeof(float) * (in_tile + out_tile)) / 12 * 12;
    tiles = std::max<int64_t>(12, std::min(tiles, most));
    floats = tiles * (in_tile + out_tile);
  }
};

// y = conv of an image with kernels already transformed and packed: 16 times packed_floats(in, out).
void convolve(ffi::ThreadPool& pool, const Tiles& tiles, int64_t in_channels, int64_t out_channels,
              const Signal& image, const float* packed, const Finish& finish, float* y) {
  const Block block(in_channels, out_channels, kBlockBytes, 192);
  const int64_t workers = threads(pool);
  const int64_t items = (tiles.all() + block.tiles - 1) / block.tiles;
  const auto in_offset = multiples(block.tiles, block.in_tile);
  const auto out_offset = multiples(block.tiles, block.out_tile);
  Scratch scratch(workers * block.floats);
  parallel(pool, items, workers, [&](int64_t item, int64_t worker) {
    float* v = scratch.get() + worker * block.floats;
    float* m = v + block.tiles * block.in_tile;
    const int64_t first = share(tiles.all(), item, items), last = share(tiles.all(), item + 1, items);
    for (int64_t t = first; t < last; t++)
      transform_input(tiles, Tile(tiles, t), image, in_channels, v + (t - first) * block.in_tile);
    const ptrdiff_t zero = 0;
    Product product;
    product.a_offset = in_offset.data();
    product.rows = last - first;
    product.segment = &zero;
    product.segments = 1;
    product.length = in_channels;
    product.columns = out_channels;
    product.c_offset = out_offset.data();
    product.accumulate = false;
    product.narrow = false;
    for (int64_t p = 0; p < kPoints; p++) {
      product.a = v + p * in_channels;
      product.b = packed + p * packed_floats(in_channels, out_channels);
      product.c = m + p * out_channels;
      loops()->multiply(product);
    }
    for (int64_t t = first; t < last; t++) {
      const Tile tile(tiles, t);
      float* to = y + ((tile.image * tiles.out[0] + tile.row) * tiles.out[1] + tile.column) * out_channels;
      loops()->winograd_output(out_channels, m + (t - first) * block.out_tile, finish.bias, finish.relu, to,
                               tiles.out[1] * out_channels, std::min<int64_t>(2, tiles.out[0] - tile.row),
                               std::min<int64_t>(2, tiles.out[1] - tile.column));
    }
  });
}

// Transforms kernels (9, in * out) and packs point p of the result, transposed if wanted, as point
// order[p].
Scratch packed_kernels(ffi::ThreadPool& pool, const Geometry& g, const float* w, bool transposed) {
  const int64_t in = g.in_channels, out = g.out_channels, n = in * out;
  Scratch transformed(kPoints * n);
  loops()->winograd_kernel(n, w, transformed.get());
  const int64_t rows = transposed ? out : in, columns = transposed ? in : out;
  const int64_t floats = packed_floats(rows, columns);
  Scratch packed(kPoints * floats);
  parallel(pool, kPoints, threads(pool), [&](int64_t p, int64_t) {
    const float* source = transformed.get() + p * n;
    // A flipped kernel has G g in the order 3, 1, 2, 0 along each side.
    const int64_t flip[4] = {3, 1, 2, 0};
    float* o = packed.get() + (transposed ? flip[p / 4] * 4 + flip[p % 4] : p) * floats;
    for (int64_t column = 0; column < columns; column += panel_columns()) {
      const int64_t width = std::min(columns - column, panel_columns());
      if (transposed) {
        loops()->pack(source + column * out, 1, out, rows, width, o);
      } else {
        loops()->pack(source + column, out, 1, rows, width, o);
      }
      o += packed_floats(rows, width);
    }
  });
  return packed;
}

}  // namespace

bool winograd_fits(const Geometry& g) {
  return g.groups == 1 && g.in[0] == 1 && g.kernel[0] == 1 && g.out[0] == 1 && g.low[0] == 0 &&
         g.kernel[1] == 3 && g.kernel[2] == 3 && g.stride[1] == 1 && g.stride[2] == 1 &&
         g.dilation[1] == 1 && g.dilation[2] == 1 && g.in_channels >= kLeastChannels &&
         g.out_channels >= kLeastChannels &&
         Tiles(g.batch, g.in + 1, g.out + 1, g.low + 1).all() >= kLeastTiles;
}

void winograd_forward(ffi::ThreadPool& pool, const Geometry& g, const float* x, const float* w, const Finish& finish,
                      float* y) {
  const Tiles tiles(g.batch, g.in + 1, g.out + 1, g.low + 1);
  const Scratch packed = packed_kernels(pool, g, w, false);
  convolve(pool, tiles, g.in_channels, g.out_channels, Signal{x, nullptr}, packed.get(), finish, y);
}

void winograd_input_gradient(ffi::ThreadPool& pool, const Geometry& g, const float* w, const Signal& signal,
                             float* dx) {
  // A convolution of dy with the flipped kernels; it gets the padding that x lacked.
  const int64_t low[2] = {2 - g.low[1], 2 - g.low[2]};
  const Tiles tiles(g.batch, g.out + 1, g.in + 1, low);
  const Scratch packed = packed_kernels(pool, g, w, true);
  convolve(pool, tiles, g.out_channels, g.in_channels, signal, packed.get(), Finish{nullptr, false}, dx);
}

void winograd_weight_gradient(ffi::ThreadPool& pool, const Geometry& g, const float* x, const Signal& signal,
                              float* dw, std::vector<double>& sums_of_signal) {
  const int64_t in = g.in_channels, out = g.out_channels, n = in * out;
  const Tiles tiles(g.batch, g.in + 1, g.out + 1, g.low + 1);
  const Block block(in, out, kGradientBlockBytes, kOuterBlock);
  // Each range of tiles has sums of its own, so that they are added in the same order in every run.
  const int64_t by_memory = 1 + kMostPartialFloats / (kPoints * n);
  const int64_t ranges = std::min({threads(pool), by_memory, 1 + tiles.all() / kLeastTiles});
  const auto offset = multiples(block.tiles, block.in_tile);
  const int64_t stride = aligned_floats(kPoints * n);
  const int64_t outer_floats = aligned_floats(loops()->outer_scratch(1, in));
  const int64_t block_floats = block.floats + aligned_floats(out);
  Scratch sums(ranges * stride), scratch(ranges * (block_floats + outer_floats));
  const bool summing = !sums_of_signal.empty();
  std::vector<double> parts(summing ? ranges * out : 0, 0.0);
  std::memset(sums.get(), 0, ranges * stride * sizeof(float));
  parallel(pool, ranges, ranges, [&](int64_t range, int64_t) {
    float* v = scratch.get() + range * (block_floats + outer_floats);
    float* m = v + block.tiles * block.in_tile;
    float* sum = summing ? m + block.tiles * block.out_tile : nullptr;
    const int64_t end = share(tiles.all(), range + 1, ranges);
    for (int64_t first = share(tiles.all(), range, ranges); first < end; first += block.tiles) {
      const int64_t last = std::min(end, first + block.tiles);
      if (summing) std::memset(sum, 0, out * sizeof(float));
      for (int64_t t = first; t < last; t++) {
        const Tile tile(tiles, t);
        transform_input(tiles, tile, Signal{x, nullptr}, in, v + (t - first) * block.in_tile);
        const int64_t from = ((tile.image * tiles.out[0] + tile.row) * tiles.out[1] + tile.column) * out;
        loops()->winograd_output_gradient(out, signal.dy + from, signal.y ? signal.y + from : nullptr, tiles.out[1] * out, std::min<int64_t>(2, tiles.out[0] - tile.row),
                                          std::min<int64_t>(2, tiles.out[1] - tile.column),
                                          m + (t - first) * block.out_tile, sum);
      }
      for (int64_t j = 0; summing && j < out; j++) parts[range * out + j] += sum[j];
      const ptrdiff_t zero = 0;
      Outer outer;
      outer.a_offset = offset.data();
      outer.rows = last - first;
      outer.segment = &zero;
      outer.segments = 1;
      outer.length = in;
      outer.d_stride = block.out_tile;
      outer.columns = out;
      outer.c_stride = out;
      outer.column_sum = nullptr;
      outer.scratch = v + block_floats;
      for (int64_t p = 0; p < kPoints; p++) {
        outer.a = v + p * in;
        outer.d = m + p * out;
        outer.c = sums.get() + range * stride + p * n;
        loops()->outer(outer);
      }
    }
  });
  add_partial_sums(pool, sums.get(), sums.get() + stride, kPoints * n, stride, ranges - 1);
  loops()->winograd_kernel_gradient(n, sums.get(), dw);
  for (int64_t i = 0; summing && i < ranges * out; i++) sums_of_signal[i % out] += parts[i];
}

}  // namespace fitloom
