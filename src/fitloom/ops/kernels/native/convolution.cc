// SPDX-License-Identifier: Apache-2.0
// Direct convolution over channels-last images in one to three dimensions: the result, the
// gradient of the input, and the gradient of the weights; grouped, dilated, strided, and
// depthwise.
//
// Everything is reduced to products over lists of positions (inner_loops.h). A position of the
// output is an offset into the (padded) input; a place of the kernel is another offset, a
// "segment", from which a run of neighbouring numbers is read. The input gradient is the same
// product over the output's gradient, once for each phase of the stride: the input positions
// that have the same remainder see the same places of the kernel.
#include <cstring>
#include <vector>

#include "convolution.h"
#include "pooling.h"

namespace fitloom {
namespace {

// A panel of packed weights should stay in the second-level cache beside the data (bytes).
constexpr int64_t kPanelBytes = 256 << 10;
// Rows of the product that are taken through all panels before the next ones.
constexpr int64_t kRowBlock = 1024;
// Runs shorter than this are read number by number, which saves the inner loop's bookkeeping.
constexpr int64_t kShortRun = 8;
// Results that are computed before they are pooled.
constexpr int64_t kPooledFloats = 7 << 10;

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

// x (batch, *in, in_channels), w (*kernel, in_channels / groups, out_channels),
// y (batch, *out, out_channels).
template <class Dims>
Geometry geometry(const Dims& x, const Dims& w, const Dims& y, Int64s strides, Int64s lows,
                  Int64s dilations, int64_t groups) {
  const int64_t rank = static_cast<int64_t>(x.size());
  const int64_t ndim = rank - 2;
  expect(ndim >= 1 && ndim <= kDims, "one to three spatial dimensions");
  expect(static_cast<int64_t>(w.size()) == rank && static_cast<int64_t>(y.size()) == rank,
         "ranks differ");
  expect(static_cast<int64_t>(strides.size()) == ndim &&
             static_cast<int64_t>(lows.size()) == ndim &&
             static_cast<int64_t>(dilations.size()) == ndim,
         "one stride, padding and dilation for each dimension");
  Geometry g;
  g.batch = x[0];
  g.in_channels = x[rank - 1];
  g.out_channels = y[rank - 1];
  g.groups = groups;
  expect(y[0] == g.batch, "batch sizes differ");
  expect(groups >= 1 && g.in_channels % groups == 0 && g.out_channels % groups == 0,
         "channels are not divisible by groups");
  expect(w[rank - 2] == g.in_channels / groups && w[rank - 1] == g.out_channels,
         "channels of the kernel");
  for (int d = 0; d < kDims; d++) {
    const int64_t s = d - (kDims - ndim);
    const bool used = s >= 0;
    g.in[d] = used ? x[s + 1] : 1;
    g.out[d] = used ? y[s + 1] : 1;
    g.kernel[d] = used ? w[s] : 1;
    g.stride[d] = used ? strides[s] : 1;
    g.dilation[d] = used ? dilations[s] : 1;
    g.low[d] = used ? lows[s] : 0;
    expect(g.stride[d] >= 1 && g.dilation[d] >= 1, "strides and dilations must be positive");
  }
  return g;
}

// The same where the result is not stored, only its spatial sizes are known.
template <class Dims>
Geometry pooled_geometry(const Dims& x, const Dims& w, Int64s sizes, Int64s strides, Int64s lows, Int64s dilations,
                         int64_t groups) {
  const size_t rank = x.size();
  expect(rank >= 3 && w.size() == rank && sizes.size() == rank - 2, "one size for each dimension");
  std::vector<int64_t> results(rank);
  results[0] = x[0];
  for (size_t d = 0; d + 2 < rank; d++) results[d + 1] = sizes[d];
  results[rank - 1] = w[rank - 1];
  const std::vector<int64_t> images(x.begin(), x.end()), kernel(w.begin(), w.end());
  return geometry(images, kernel, results, strides, lows, dilations, groups);
}

// An image and its copy with a border of zeros (or with its own border cut off).
struct Frame {
  int64_t size[kDims];      // of the copy
  int64_t low[kDims];       // where the image's first position lies in the copy
  int64_t original[kDims];  // of the image
  int64_t channels;
  bool copied = false;

  int64_t offset(int64_t i, int64_t j, int64_t k) const {
    return ((i * size[1] + j) * size[2] + k) * channels;
  }
  int64_t floats() const { return copied ? aligned_floats(size[0] * size[1] * size[2] * channels) : 0; }

  // Cover positions [first, last] of the image in each dimension.
  static Frame covering(const int64_t* original, const int64_t* first, const int64_t* last,
                        int64_t channels, bool copied = false) {
    Frame frame;
    frame.channels = channels;
    frame.copied = copied;
    for (int d = 0; d < kDims; d++)
      frame.copied = frame.copied || first[d] < 0 || last[d] >= original[d];
    for (int d = 0; d < kDims; d++) {
      frame.original[d] = original[d];
      frame.low[d] = frame.copied ? -first[d] : 0;
      frame.size[d] = frame.copied ? last[d] - first[d] + 1 : original[d];
    }
    return frame;
  }

  void clear(float* copy) const { std::memset(copy, 0, floats() * sizeof(float)); }

  // The border is left as `clear` made it. With y, zero is copied where y is not positive.
  void fill(const float* image, const float* y, float* copy) const {
    int64_t from[kDims], to[kDims];
    for (int d = 0; d < kDims; d++) {
      from[d] = std::max<int64_t>(0, -low[d]);
      to[d] = std::min(original[d], size[d] - low[d]);
      if (from[d] >= to[d]) return;
    }
    const int64_t floats = (to[2] - from[2]) * channels;
    for (int64_t i = from[0]; i < to[0]; i++)
      for (int64_t j = from[1]; j < to[1]; j++) {
        float* target = copy + offset(i + low[0], j + low[1], from[2] + low[2]);
        const int64_t begin = ((i * original[1] + j) * original[2] + from[2]) * channels;
        if (y) {
          loops()->where_positive(floats, image + begin, y + begin, target);
        } else {
          std::memcpy(target, image + begin, floats * sizeof(float));
        }
      }
  }
};

// The images of a batch inside their frames: each is copied by the thread that needs it, or, if
// there are fewer images than threads, all are copied beforehand.
class Frames {
 public:
  // With y the frame must be copied.
  Frames(ffi::ThreadPool& pool, const Frame& frame, const float* images, int64_t batch, int64_t workers,
         const float* y = nullptr)
      : frame_(frame), images_(images), y_(y), shared_(batch <= workers) {
    if (!frame.copied) return;
    const int64_t copies = shared_ ? batch : workers;
    memory_ = Scratch(copies * frame.floats());
    held_.assign(copies, -1);
    parallel(pool, copies, threads(pool), [&](int64_t i, int64_t) {
      float* copy = memory_.get() + i * frame_.floats();
      frame_.clear(copy);
      if (shared_) fill(i, copy);
    });
  }

  const float* get(int64_t i, int64_t worker) {
    if (!frame_.copied) return image(i);
    if (shared_) return memory_.get() + i * frame_.floats();
    float* copy = memory_.get() + worker * frame_.floats();
    if (held_[worker] != i) fill(i, copy);
    held_[worker] = i;
    return copy;
  }

 private:
  int64_t begin(int64_t i) const {
    return i * frame_.original[0] * frame_.original[1] * frame_.original[2] * frame_.channels;
  }
  const float* image(int64_t i) const { return images_ + begin(i); }
  void fill(int64_t i, float* copy) const { frame_.fill(image(i), y_ ? y_ + begin(i) : nullptr, copy); }
  Frame frame_;
  const float *images_, *y_;
  bool shared_;
  Scratch memory_;
  std::vector<int64_t> held_;
};

// What one product reads: for each of its rows an offset into the source and one into the
// result, and the segments. `place` names the kernel's place that each run of `run` numbers in a
// segment stands for.
struct Walk {
  std::vector<ptrdiff_t> source, result;
  std::vector<ptrdiff_t> segment;
  int64_t length = 0;
  int64_t run = 0;
  std::vector<int64_t> place;  // segments * (length / run)

  int64_t rows() const { return static_cast<int64_t>(source.size()); }
  int64_t segments() const { return static_cast<int64_t>(segment.size()); }
  int64_t depth() const { return segments() * length; }
};

// Vectors along the run instead of along the columns (inner_loops.h).
bool narrow(int64_t run, int64_t columns) {
  return columns <= kNarrow && run >= loops()->lanes && run % loops()->lanes == 0;
}

// Join segments that follow one another in memory and have the same number of runs.
void join_along_last(Walk& walk, int64_t count) {
  if (count < 2) return;
  for (size_t s = 0; s < walk.segment.size(); s++)
    if (s % count && walk.segment[s] != walk.segment[s - 1] + walk.run) return;
  std::vector<ptrdiff_t> joined;
  for (size_t s = 0; s < walk.segment.size(); s += count) joined.push_back(walk.segment[s]);
  walk.segment = joined;
  walk.length = count * walk.run;
}

Frame forward_frame(const Geometry& g) {
  int64_t first[kDims], last[kDims];
  for (int d = 0; d < kDims; d++) {
    first[d] = -g.low[d];
    last[d] = first[d] + (g.out[d] - 1) * g.stride[d] + (g.kernel[d] - 1) * g.dilation[d];
  }
  return Frame::covering(g.in, first, last, g.in_channels);
}

Walk forward_walk(const Geometry& g, const Frame& frame, int64_t run) {
  Walk walk;
  walk.run = walk.length = run;
  // Where the input position of output 0 and place 0 lies in the frame.
  int64_t base[kDims];
  for (int d = 0; d < kDims; d++) base[d] = frame.low[d] - g.low[d];
  walk.source.reserve(g.out_positions());
  walk.result.reserve(g.out_positions());
  for (int64_t i = 0; i < g.out[0]; i++)
    for (int64_t j = 0; j < g.out[1]; j++)
      for (int64_t k = 0; k < g.out[2]; k++) {
        walk.source.push_back(frame.offset(base[0] + i * g.stride[0], base[1] + j * g.stride[1],
                                           base[2] + k * g.stride[2]));
        walk.result.push_back(static_cast<ptrdiff_t>(walk.result.size()) * g.out_channels);
      }
  for (int64_t i = 0; i < g.kernel[0]; i++)
    for (int64_t j = 0; j < g.kernel[1]; j++)
      for (int64_t k = 0; k < g.kernel[2]; k++) {
        walk.segment.push_back(
            frame.offset(i * g.dilation[0], j * g.dilation[1], k * g.dilation[2]));
        walk.place.push_back((i * g.kernel[1] + j) * g.kernel[2] + k);
      }
  return walk;
}

// Input position i gets from output o through place k if i = o * stride + k * dilation - low. In
// each dimension the positions with one remainder of (i + low) by stride form a phase.
struct Phase {
  std::vector<int64_t> position;  // i
  std::vector<int64_t> quotient;  // floor((i + low) / stride)
  std::vector<int64_t> place;     // k, so that the shifts ascend
  std::vector<int64_t> shift;     // o = quotient + shift
};

std::vector<Phase> phases(const Geometry& g, int d) {
  std::vector<Phase> all(g.stride[d]);
  for (int64_t i = 0; i < g.in[d]; i++) {
    const int64_t quotient = floor_div(i + g.low[d], g.stride[d]);
    Phase& phase = all[i + g.low[d] - quotient * g.stride[d]];
    phase.position.push_back(i);
    phase.quotient.push_back(quotient);
  }
  for (int64_t a = 0; a < g.stride[d]; a++)
    for (int64_t k = g.kernel[d] - 1; k >= 0; k--)
      if ((k * g.dilation[d] - a) % g.stride[d] == 0) {
        all[a].place.push_back(k);
        all[a].shift.push_back((a - k * g.dilation[d]) / g.stride[d]);
      }
  return all;
}

struct Backward {
  Frame frame;
  std::vector<Walk> walks;  // one for each phase that has positions; depth 0 means zeros
  bool has_zeros = false;
};

// `join`: let segments run over several places, where these lie side by side. `copied`: the frame must be a copy.
Backward backward_walks(const Geometry& g, int64_t run, bool join, bool copied = false) {
  std::vector<Phase> phase[kDims];
  int64_t first[kDims], last[kDims];
  for (int d = 0; d < kDims; d++) {
    phase[d] = phases(g, d);
    first[d] = 0;
    last[d] = g.out[d] - 1;
    for (const Phase& p : phase[d]) {
      if (p.position.empty() || p.place.empty()) continue;
      first[d] = std::min(first[d], p.quotient.front() + p.shift.front());
      last[d] = std::max(last[d], p.quotient.back() + p.shift.back());
    }
  }
  Backward backward;
  Frame& frame = backward.frame = Frame::covering(g.out, first, last, g.out_channels, copied);
  for (const Phase& a : phase[0])
    for (const Phase& b : phase[1])
      for (const Phase& c : phase[2]) {
        if (a.position.empty() || b.position.empty() || c.position.empty()) continue;
        Walk walk;
        walk.run = walk.length = run;
        for (size_t i = 0; i < a.position.size(); i++)
          for (size_t j = 0; j < b.position.size(); j++)
            for (size_t k = 0; k < c.position.size(); k++) {
              walk.source.push_back(frame.offset(a.quotient[i] + frame.low[0],
                                                 b.quotient[j] + frame.low[1],
                                                 c.quotient[k] + frame.low[2]));
              walk.result.push_back(
                  ((a.position[i] * g.in[1] + b.position[j]) * g.in[2] + c.position[k]) *
                  g.in_channels);
            }
        for (size_t i = 0; i < a.place.size(); i++)
          for (size_t j = 0; j < b.place.size(); j++)
            for (size_t k = 0; k < c.place.size(); k++) {
              walk.segment.push_back(frame.offset(a.shift[i], b.shift[j], c.shift[k]));
              walk.place.push_back((a.place[i] * g.kernel[1] + b.place[j]) * g.kernel[2] +
                                   c.place[k]);
            }
        if (join) join_along_last(walk, static_cast<int64_t>(c.place.size()));
        backward.has_zeros = backward.has_zeros || walk.depth() == 0;
        backward.walks.push_back(std::move(walk));
      }
  return backward;
}

// The weights of one walk and one group, packed for `multiply`: blocks of whole segments, so
// that a panel of a block stays in the cache.
class PackedWeights {
 public:
  // source(place, column): where the number for run element 0 and that column stands; the next
  // element of the run is row_stride further, the next column column_stride.
  template <class Source>
  PackedWeights(const Walk& walk, int64_t columns, ptrdiff_t row_stride, ptrdiff_t column_stride,
                const Source& source)
      : walk_(walk), columns_(columns),
        narrow_(walk.length == walk.run && narrow(walk.run, columns)) {  // joined runs are packed in panels
    if (narrow_) {
      per_block_ = walk.segments();
      memory_ = Scratch(walk.depth() * columns);
      float* out = memory_.get();
      for (const int64_t place : walk.place)
        for (int64_t column = 0; column < columns; column++)
          for (int64_t k = 0; k < walk.run; k++)
            *out++ = source(place, column)[k * row_stride];
      return;
    }
    const int64_t panel_bytes = walk.length * panel_columns() * sizeof(float);
    per_block_ = std::max<int64_t>(1, kPanelBytes / std::max<int64_t>(1, panel_bytes));
    memory_ = Scratch(packed_floats(walk.depth(), columns));
    const int64_t runs = walk.length / walk.run;
    float* out = memory_.get();
    for (int64_t s0 = 0; s0 < walk.segments(); s0 += per_block_) {
      const int64_t s1 = std::min(s0 + per_block_, walk.segments());
      for (int64_t column = 0; column < columns; column += panel_columns()) {
        const int64_t width = std::min(columns - column, panel_columns());
        for (int64_t r = s0 * runs; r < s1 * runs; r++) {
          loops()->pack(source(walk.place[r], column), row_stride, column_stride, walk.run, width, out);
          out += packed_floats(walk.run, width);
        }
      }
    }
    if (walk.length < kShortRun)
      for (const ptrdiff_t segment : walk.segment)
        for (int64_t k = 0; k < walk.length; k++) single_.push_back(segment + k);
  }

  // Rows [first, last) of the walk, from `source` to `result`.
  void multiply(const float* source, float* result, int64_t first, int64_t last,
                const Finish& finish = {nullptr, false}) const {
    for (int64_t row = first; row < last; row += kRowBlock) {
      const float* packed = memory_.get();
      for (int64_t s = 0; s < walk_.segments(); s += per_block_) {
        const int64_t count = std::min(per_block_, walk_.segments() - s);
        Product product;
        product.a = source;
        product.a_offset = walk_.source.data() + row;
        product.rows = std::min(kRowBlock, last - row);
        if (single_.empty()) {
          product.segment = walk_.segment.data() + s;
          product.segments = count;
          product.length = walk_.length;
        } else {
          product.segment = single_.data() + s * walk_.length;
          product.segments = count * walk_.length;
          product.length = 1;
        }
        product.b = packed;
        product.columns = columns_;
        product.c = result;
        product.c_offset = walk_.result.data() + row;
        product.accumulate = s > 0;
        product.narrow = narrow_;
        product.bias = finish.bias;
        product.relu = finish.relu && s + count == walk_.segments();
        loops()->multiply(product);
        packed += packed_floats(count * walk_.length, columns_);
      }
    }
  }

 private:
  const Walk& walk_;
  int64_t columns_, per_block_;
  bool narrow_;
  Scratch memory_;
  std::vector<ptrdiff_t> single_;
};

// The weights (*kernel, group_in, out_channels) of a forward walk, packed by group.
std::vector<PackedWeights> packed_by_group(const Walk& walk, const Geometry& g, const float* w) {
  std::vector<PackedWeights> packed;
  packed.reserve(g.groups);
  for (int64_t group = 0; group < g.groups; group++)
    packed.emplace_back(walk, g.group_out(), g.out_channels, 1, [&](int64_t place, int64_t column) {
      return w + place * g.group_in() * g.out_channels + group * g.group_out() + column;
    });
  return packed;
}

// Items of work: images, cut into ranges of rows if there are few of them.
struct Split {
  int64_t parts;  // for each image
  Split(int64_t batch, int64_t rows, int64_t workers) {
    parts = std::max<int64_t>(1, std::min<int64_t>(rows / 64, (4 * workers + batch - 1) / std::max<int64_t>(1, batch)));
    if (batch >= 4 * workers) parts = 1;
  }
};

void zero_rows(const Walk& walk, int64_t columns, float* result, int64_t first, int64_t last) {
  for (int64_t m = first; m < last; m++)
    std::memset(result + walk.result[m], 0, columns * sizeof(float));
}

// ---- ordinary and grouped ----

void forward(ffi::ThreadPool& pool, const Geometry& g, const Floats& x, const Floats& w, const Finish& finish,
             FloatResult& y) {
  const int64_t groups = g.groups;
  if (y->element_count() == 0) return;
  if (winograd_fits(g))
    return winograd_forward(pool, g, x.typed_data(), w.typed_data(), finish, y->typed_data());
  const Frame frame = forward_frame(g);
  Walk walk = forward_walk(g, frame, g.group_in());
  const int64_t workers = threads(pool), columns = g.group_out();
  if (groups == 1 && !narrow(walk.run, columns)) join_along_last(walk, g.kernel[2]);
  if (walk.depth() == 0) {
    expect(!finish.bias && !finish.relu, "at least one input channel");
    std::memset(y->typed_data(), 0, y->size_bytes());
    return;
  }
  const std::vector<PackedWeights> packed = packed_by_group(walk, g, w.typed_data());
  Frames frames(pool, frame, x.typed_data(), g.batch, workers);
  const int64_t parts = Split(g.batch, walk.rows(), workers).parts;
  float* result = y->typed_data();
  parallel(pool, g.batch * parts, workers, [&](int64_t item, int64_t worker) {
    const int64_t image = item / parts, part = item % parts;
    const float* source = frames.get(image, worker);
    float* to = result + image * walk.rows() * g.out_channels;
    for (int64_t group = 0; group < groups; group++)
      packed[group].multiply(source + group * g.group_in(), to + group * columns,
                             share(walk.rows(), part, parts), share(walk.rows(), part + 1, parts),
                             {finish.bias ? finish.bias + group * columns : nullptr, finish.relu});
  });
}

ffi::Error conv_forward(ffi::ThreadPool pool, Floats x, Floats w, FloatResult y, Int64s strides, Int64s lows,
                        Int64s dilations, int64_t groups) {
  return guarded("conv_forward", [&] {
    forward(pool, geometry(x.dimensions(), w.dimensions(), y->dimensions(), strides, lows, dilations, groups), x, w,
            {nullptr, false}, y);
  });
}

// y = conv + bias, or max(conv + bias, 0)
ffi::Error conv_bias_forward(ffi::ThreadPool pool, Floats x, Floats w, Floats bias, FloatResult y, Int64s strides,
                             Int64s lows, Int64s dilations, int64_t groups, int64_t relu) {
  return guarded("conv_bias_forward", [&] {
    const Geometry g = geometry(x.dimensions(), w.dimensions(), y->dimensions(), strides, lows, dilations, groups);
    expect(bias.element_count() == static_cast<size_t>(g.out_channels), "one bias for each output channel");
    forward(pool, g, x, w, {bias.typed_data(), relu != 0}, y);
  });
}

void input_gradient(ffi::ThreadPool& pool, const Geometry& g, const Floats& w, const Signal& signal, FloatResult& dx) {
  const int64_t groups = g.groups;
  if (dx->element_count() == 0) return;
  if (winograd_fits(g)) return winograd_input_gradient(pool, g, w.typed_data(), signal, dx->typed_data());
  const int64_t workers = threads(pool), columns = g.group_in();
  const bool join = groups == 1 && !narrow(g.group_out(), columns);
  const Backward backward = backward_walks(g, g.group_out(), join, signal.y != nullptr);
  if (g.group_out() == 0 || g.out_positions() == 0) {
    std::memset(dx->typed_data(), 0, dx->size_bytes());
    return;
  }
  std::vector<PackedWeights> packed;
  packed.reserve(backward.walks.size() * groups);
  for (const Walk& walk : backward.walks)
    for (int64_t group = 0; group < groups; group++)
      packed.emplace_back(walk, columns, 1, g.out_channels, [&](int64_t place, int64_t column) {
        return w.typed_data() + (place * columns + column) * g.out_channels +
               group * g.group_out();
      });
  Frames frames(pool, backward.frame, signal.dy, g.batch, workers, signal.y);
  const int64_t parts = Split(g.batch, g.in_positions(), workers).parts;
  float* result = dx->typed_data();
  parallel(pool, g.batch * parts, workers, [&](int64_t item, int64_t worker) {
    const int64_t image = item / parts, part = item % parts;
    const float* source = frames.get(image, worker);
    float* to = result + image * g.in_positions() * g.in_channels;
    const bool clear_all = backward.has_zeros && parts == 1;
    if (clear_all) std::memset(to, 0, g.in_positions() * g.in_channels * sizeof(float));
    for (size_t i = 0; i < backward.walks.size(); i++) {
      const Walk& walk = backward.walks[i];
      const int64_t first = share(walk.rows(), part, parts);
      const int64_t last = share(walk.rows(), part + 1, parts);
      if (walk.depth() == 0) {
        if (!clear_all) zero_rows(walk, g.in_channels, to, first, last);
        continue;
      }
      for (int64_t group = 0; group < groups; group++)
        packed[i * groups + group].multiply(source + group * g.group_out(), to + group * columns,
                                            first, last);
    }
  });
}

ffi::Error conv_input_gradient(ffi::ThreadPool pool, Floats w, Floats dy, FloatResult dx, Int64s strides, Int64s lows,
                               Int64s dilations, int64_t groups) {
  return guarded("conv_input_gradient", [&] {
    input_gradient(pool,
                   geometry(dx->dimensions(), w.dimensions(), dy.dimensions(), strides, lows, dilations, groups), w,
                   {dy.typed_data(), nullptr}, dx);
  });
}

// The input gradient of max(conv + bias, 0) = y.
ffi::Error conv_relu_input_gradient(ffi::ThreadPool pool, Floats w, Floats dy, Floats y, FloatResult dx,
                                    Int64s strides, Int64s lows, Int64s dilations, int64_t groups) {
  return guarded("conv_relu_input_gradient", [&] {
    expect(y.element_count() == dy.element_count(), "a result for each gradient");
    input_gradient(pool,
                   geometry(dx->dimensions(), w.dimensions(), dy.dimensions(), strides, lows, dilations, groups), w,
                   {dy.typed_data(), y.typed_data()}, dx);
  });
}

// Splits all output positions of the batch into equal ranges, one for each thread, and calls
// body(range, image, first position, last position) for the images of each range. The split
// depends on the number of threads only, so sums are the same from run to run.
template <class Body>
void over_positions(ffi::ThreadPool& pool, const Geometry& g, int64_t ranges, const Body& body) {
  const int64_t positions = g.out_positions(), all = g.batch * positions;
  parallel(pool, ranges, ranges, [&](int64_t range, int64_t) {
    int64_t next = share(all, range, ranges);
    const int64_t end = share(all, range + 1, ranges);
    while (next < end) {
      const int64_t image = next / positions, first = next % positions;
      const int64_t last = std::min(positions, first + end - next);
      body(range, image, first, last);
      next += last - first;
    }
  });
}

int64_t ranges_for(const ffi::ThreadPool& pool, const Geometry& g, int64_t floats) {
  const int64_t by_memory = 1 + kMostPartialFloats / std::max<int64_t>(1, floats);
  const int64_t by_work = 1 + g.batch * g.out_positions() / (2 * kOuterBlock);
  return std::min({threads(pool), by_memory, by_work});
}

// `sums`, if not empty, gets the sums of the signal for each output channel.
void weight_gradient(ffi::ThreadPool& pool, const Geometry& g, const Floats& x, const Signal& signal, FloatResult& dw,
                     std::vector<double>& sums) {
  const int64_t groups = g.groups, floats = dw->element_count();
  std::memset(dw->typed_data(), 0, dw->size_bytes());
  if (floats == 0 || g.batch * g.out_positions() * g.out_channels == 0) return;
  if (winograd_fits(g)) return winograd_weight_gradient(pool, g, x.typed_data(), signal, dw->typed_data(), sums);
  const Frame frame = forward_frame(g);
  Walk walk = forward_walk(g, frame, g.group_in());
  if (groups == 1) join_along_last(walk, g.kernel[2]);
  const int64_t columns = g.group_out(), ranges = ranges_for(pool, g, floats);
  const int64_t stride = aligned_floats(floats);
  Scratch partial((ranges - 1) * stride);
  if (ranges > 1) std::memset(partial.get(), 0, (ranges - 1) * stride * sizeof(float));
  const int64_t scratch_floats = aligned_floats(loops()->outer_scratch(walk.segments(), walk.length));
  const bool summing = !sums.empty();
  const int64_t sum_floats = summing ? aligned_floats(g.out_channels) : 0;
  Scratch scratch(ranges * (scratch_floats + sum_floats));
  std::vector<double> parts(summing ? ranges * g.out_channels : 0, 0.0);
  Frames frames(pool, frame, x.typed_data(), g.batch, ranges);
  float* result = dw->typed_data();
  over_positions(pool, g, ranges, [&](int64_t range, int64_t image, int64_t first, int64_t last) {
    const float* source = frames.get(image, range);
    float* own = scratch.get() + range * (scratch_floats + sum_floats);
    float* sum = own + scratch_floats;
    if (summing) std::memset(sum, 0, g.out_channels * sizeof(float));
    for (int64_t group = 0; group < groups; group++) {
      Outer outer;
      outer.a = source + group * g.group_in();
      outer.a_offset = walk.source.data() + first;
      outer.rows = last - first;
      outer.segment = walk.segment.data();
      outer.segments = walk.segments();
      outer.length = walk.length;
      const int64_t begin = (image * walk.rows() + first) * g.out_channels + group * columns;
      outer.d = signal.dy + begin;
      outer.y = signal.y ? signal.y + begin : nullptr;
      outer.d_stride = g.out_channels;
      outer.columns = columns;
      outer.c = (range ? partial.get() + (range - 1) * stride : result) + group * columns;
      outer.c_stride = g.out_channels;
      outer.column_sum = summing ? sum + group * columns : nullptr;
      outer.scratch = own;
      loops()->outer(outer);
    }
    for (int64_t j = 0; summing && j < g.out_channels; j++) parts[range * g.out_channels + j] += sum[j];
  });
  add_partial_sums(pool, result, partial.get(), floats, stride, ranges - 1);
  for (size_t i = 0; i < parts.size(); i++) sums[i % g.out_channels] += parts[i];
}

ffi::Error conv_weight_gradient(ffi::ThreadPool pool, Floats x, Floats dy, FloatResult dw, Int64s strides, Int64s lows,
                                Int64s dilations, int64_t groups) {
  return guarded("conv_weight_gradient", [&] {
    std::vector<double> none;
    weight_gradient(pool,
                    geometry(x.dimensions(), dw->dimensions(), dy.dimensions(), strides, lows, dilations, groups), x,
                    {dy.typed_data(), nullptr}, dw, none);
  });
}

// The gradients of w and bias for conv + bias or, if y is not empty, for max(conv + bias, 0) = y.
ffi::Error conv_bias_weight_gradient(ffi::ThreadPool pool, Floats x, Floats dy, Floats y, FloatResult dw,
                                     FloatResult dbias, Int64s strides, Int64s lows, Int64s dilations,
                                     int64_t groups) {
  return guarded("conv_bias_weight_gradient", [&] {
    const Geometry g = geometry(x.dimensions(), dw->dimensions(), dy.dimensions(), strides, lows, dilations, groups);
    const bool relu = y.element_count() > 0;
    expect(!relu || y.element_count() == dy.element_count(), "a result for each gradient");
    expect(dbias->element_count() == static_cast<size_t>(g.out_channels) && dw->element_count() > 0,
           "one bias for each output channel, and at least one weight");
    std::vector<double> sums(g.out_channels, 0.0);
    weight_gradient(pool, g, x, {dy.typed_data(), relu ? y.typed_data() : nullptr}, dw, sums);
    for (int64_t j = 0; j < g.out_channels; j++) dbias->typed_data()[j] = static_cast<float>(sums[j]);
  });
}

// ---- with bias and max-pooling: no image of results is larger than what stays in the second-level cache ----

// The windows over the results of a convolution; they have g's dimensions.
Windows windows_over(const Geometry& g, const ffi::AnyBuffer::Dimensions& pooled, Int64s window, Int64s strides,
                     Int64s lows) {
  const std::vector<int64_t> outputs(pooled.begin(), pooled.end());
  std::vector<int64_t> results = outputs;
  const int64_t ndim = static_cast<int64_t>(results.size()) - 2;
  expect(ndim >= 1 && ndim <= kDims, "one to three spatial dimensions");
  for (int64_t d = 0; d < ndim; d++) results[d + 1] = g.out[kDims - ndim + d];
  results[0] = g.batch;
  results[ndim + 1] = g.out_channels;
  return Windows(results, outputs, window, strides, lows);
}

// y = max-pooling of conv + bias, or of max(conv + bias, 0), and the place of each largest value.
// `sizes` are the spatial sizes of what is pooled.
ffi::Error conv_pool_forward(ffi::ThreadPool pool, Floats x, Floats w, Floats bias, FloatResult y, ByteResult winner,
                             Int64s sizes, Int64s strides, Int64s lows, Int64s dilations, int64_t groups,
                             int64_t relu, Int64s window, Int64s pool_strides, Int64s pool_lows) {
  return guarded("conv_pool_forward", [&] {
    const Geometry g = pooled_geometry(x.dimensions(), w.dimensions(), sizes, strides, lows, dilations, groups);
    const Windows windows = windows_over(g, y->dimensions(), window, pool_strides, pool_lows);
    expect(winner->element_count() == y->element_count() && y->element_count() > 0 &&
               bias.element_count() == static_cast<size_t>(g.out_channels) && g.group_in() > 0,
           "one place for each largest value, one bias for each output channel");
    const Frame frame = forward_frame(g);
    Walk walk = forward_walk(g, frame, g.group_in());
    const int64_t workers = threads(pool), columns = g.group_out();
    if (groups == 1 && !narrow(walk.run, columns)) join_along_last(walk, g.kernel[2]);
    const std::vector<PackedWeights> packed = packed_by_group(walk, g, w.typed_data());
    Frames frames(pool, frame, x.typed_data(), g.batch, workers);
    const int64_t floats = aligned_floats(windows.in_floats());
    Scratch scratch(workers * floats);
    parallel(pool, g.batch, workers, [&](int64_t image, int64_t worker) {
      const float* source = frames.get(image, worker);
      float* results = scratch.get() + worker * floats;
      const int64_t rows = windows.out[0] * windows.out[1];
      // So many rows of windows at a time that their results are still in the first-level cache.
      const int64_t step = std::max<int64_t>(1, kPooledFloats * rows / windows.in_floats());
      for (int64_t row = 0, done = 0; row < rows; row += step) {
        const int64_t end = std::min(rows, row + step), reach = windows.reach(end - 1);
        for (int64_t group = 0; group < groups; group++)
          packed[group].multiply(source + group * g.group_in(), results + group * columns, done, reach,
                                 {bias.typed_data() + group * columns, relu != 0});
        done = reach;
        largest(windows, results, row, end, y->typed_data() + image * windows.out_floats(),
                winner->typed_data() + image * windows.out_floats());
      }
    });
  });
}

// The gradient of one image of conv + bias, from that of its pooled form. Where the largest value is not positive, it
// came from the zero of max(conv + bias, 0). `pooled` is scratch memory for out_floats, also what the sums are made of.
void unpool(const Windows& windows, int64_t image, const float* dy, const float* y, const uint8_t* winner,
            float* pooled, float* results) {
  const int64_t first = image * windows.out_floats();
  const float* signal = dy + first;
  if (y) {
    loops()->where_positive(windows.out_floats(), signal, y + first, pooled);
    signal = pooled;
  } else {
    std::memcpy(pooled, signal, windows.out_floats() * sizeof(float));
  }
  spread(windows, signal, winner + first, results);
}

ffi::Error conv_pool_weight_gradient(ffi::ThreadPool pool, Floats x, Floats dy, Floats y, Bytes winner, FloatResult dw,
                                     FloatResult dbias, Int64s sizes, Int64s strides, Int64s lows, Int64s dilations,
                                     int64_t groups, int64_t relu, Int64s window, Int64s pool_strides,
                                     Int64s pool_lows) {
  return guarded("conv_pool_weight_gradient", [&] {
    const Geometry g = pooled_geometry(x.dimensions(), dw->dimensions(), sizes, strides, lows, dilations, groups);
    const Windows windows = windows_over(g, dy.dimensions(), window, pool_strides, pool_lows);
    const int64_t floats = dw->element_count();
    expect(y.element_count() == dy.element_count() && winner.element_count() == dy.element_count() &&
               dbias->element_count() == static_cast<size_t>(g.out_channels) && floats > 0 && dy.element_count() > 0,
           "shapes of the results");
    std::memset(dw->typed_data(), 0, dw->size_bytes());
    const Frame frame = forward_frame(g);
    Walk walk = forward_walk(g, frame, g.group_in());
    if (groups == 1) join_along_last(walk, g.kernel[2]);
    const int64_t columns = g.group_out(), stride = aligned_floats(floats);
    const int64_t ranges = std::min({threads(pool), 1 + kMostPartialFloats / floats, g.batch});
    Scratch partial((ranges - 1) * stride);
    if (ranges > 1) std::memset(partial.get(), 0, (ranges - 1) * stride * sizeof(float));
    const int64_t results_floats = aligned_floats(windows.in_floats());
    const int64_t pooled_floats = aligned_floats(windows.out_floats()), sum_floats = aligned_floats(g.out_channels);
    const int64_t own_floats = aligned_floats(loops()->outer_scratch(walk.segments(), walk.length)) + results_floats +
                               pooled_floats + sum_floats;
    Scratch scratch(ranges * own_floats);
    std::vector<double> sums(ranges * g.out_channels, 0.0);
    Frames frames(pool, frame, x.typed_data(), g.batch, ranges);
    parallel(pool, ranges, ranges, [&](int64_t range, int64_t) {
      float* results = scratch.get() + range * own_floats;
      float* pooled = results + results_floats;
      float* sum = pooled + pooled_floats;
      float* target = range ? partial.get() + (range - 1) * stride : dw->typed_data();
      for (int64_t image = share(g.batch, range, ranges); image < share(g.batch, range + 1, ranges); image++) {
        const float* source = frames.get(image, range);
        unpool(windows, image, dy.typed_data(), relu ? y.typed_data() : nullptr, winner.typed_data(), pooled, results);
        loops()->column_sum(windows.out_floats() / g.out_channels, g.out_channels, pooled, sum);
        for (int64_t j = 0; j < g.out_channels; j++) sums[range * g.out_channels + j] += sum[j];
        for (int64_t group = 0; group < groups; group++) {
          Outer outer;
          outer.a = source + group * g.group_in();
          outer.a_offset = walk.source.data();
          outer.rows = walk.rows();
          outer.segment = walk.segment.data();
          outer.segments = walk.segments();
          outer.length = walk.length;
          outer.d = results + group * columns;
          outer.d_stride = g.out_channels;
          outer.columns = columns;
          outer.c = target + group * columns;
          outer.c_stride = g.out_channels;
          outer.column_sum = nullptr;
          outer.scratch = sum + sum_floats;
          loops()->outer(outer);
        }
      }
    });
    add_partial_sums(pool, dw->typed_data(), partial.get(), floats, stride, ranges - 1);
    for (int64_t j = 0; j < g.out_channels; j++) {
      double all = 0;
      for (int64_t range = 0; range < ranges; range++) all += sums[range * g.out_channels + j];
      dbias->typed_data()[j] = static_cast<float>(all);
    }
  });
}

// ---- depthwise: w (*kernel, 1, channels), one output channel for each input channel ----

template <class Dims>
Geometry depthwise_geometry(const Dims& x, const Dims& w, const Dims& y, Int64s strides,
                            Int64s lows, Int64s dilations) {
  const Geometry g = geometry(x, w, y, strides, lows, dilations, x[x.size() - 1]);
  expect(g.in_channels == g.out_channels, "as many output channels as input channels");
  return g;
}

void run_depthwise(const Walk& walk, int64_t channels, const float* source, const float* w,
                   float* result, int64_t first, int64_t last) {
  Depthwise step;
  step.x = source;
  step.x_offset = walk.source.data() + first;
  step.rows = last - first;
  step.segment = walk.segment.data();
  step.segments = walk.segments();
  step.channels = channels;
  step.w = w;
  step.y = result;
  step.y_offset = walk.result.data() + first;
  loops()->depthwise(step);
}

ffi::Error depthwise_forward(ffi::ThreadPool pool, Floats x, Floats w, FloatResult y,
                             Int64s strides, Int64s lows, Int64s dilations) {
  return guarded("depthwise_forward", [&] {
    const Geometry g = depthwise_geometry(x.dimensions(), w.dimensions(), y->dimensions(), strides,
                                          lows, dilations);
    if (y->element_count() == 0) return;
    const Frame frame = forward_frame(g);
    const Walk walk = forward_walk(g, frame, 1);
    const int64_t workers = threads(pool);
    Frames frames(pool, frame, x.typed_data(), g.batch, workers);
    const int64_t parts = Split(g.batch, walk.rows(), workers).parts;
    float* result = y->typed_data();
    parallel(pool, g.batch * parts, workers, [&](int64_t item, int64_t worker) {
      const int64_t image = item / parts, part = item % parts;
      run_depthwise(walk, g.in_channels, frames.get(image, worker), w.typed_data(),
                    result + image * walk.rows() * g.in_channels, share(walk.rows(), part, parts),
                    share(walk.rows(), part + 1, parts));
    });
  });
}

ffi::Error depthwise_input_gradient(ffi::ThreadPool pool, Floats w, Floats dy, FloatResult dx,
                                    Int64s strides, Int64s lows, Int64s dilations) {
  return guarded("depthwise_input_gradient", [&] {
    const Geometry g = depthwise_geometry(dx->dimensions(), w.dimensions(), dy.dimensions(),
                                          strides, lows, dilations);
    if (dx->element_count() == 0) return;
    if (dy.element_count() == 0) {
      std::memset(dx->typed_data(), 0, dx->size_bytes());
      return;
    }
    const int64_t channels = g.in_channels, workers = threads(pool);
    const Backward backward = backward_walks(g, 1, false);
    // The weights of each phase, in the order of its segments.
    Scratch weights(g.places() * channels);
    std::vector<const float*> phase_weights;
    float* next = weights.get();
    for (const Walk& walk : backward.walks) {
      phase_weights.push_back(next);
      for (const int64_t place : walk.place) {
        std::memcpy(next, w.typed_data() + place * channels, channels * sizeof(float));
        next += channels;
      }
    }
    Frames frames(pool, backward.frame, dy.typed_data(), g.batch, workers);
    const int64_t parts = Split(g.batch, g.in_positions(), workers).parts;
    float* result = dx->typed_data();
    parallel(pool, g.batch * parts, workers, [&](int64_t item, int64_t worker) {
      const int64_t image = item / parts, part = item % parts;
      const float* source = frames.get(image, worker);
      float* to = result + image * g.in_positions() * channels;
      for (size_t i = 0; i < backward.walks.size(); i++) {
        const Walk& walk = backward.walks[i];
        run_depthwise(walk, channels, source, phase_weights[i], to, share(walk.rows(), part, parts),
                      share(walk.rows(), part + 1, parts));
      }
    });
  });
}

ffi::Error depthwise_weight_gradient(ffi::ThreadPool pool, Floats x, Floats dy, FloatResult dw,
                                     Int64s strides, Int64s lows, Int64s dilations) {
  return guarded("depthwise_weight_gradient", [&] {
    const Geometry g = depthwise_geometry(x.dimensions(), dw->dimensions(), dy.dimensions(),
                                          strides, lows, dilations);
    const int64_t floats = dw->element_count();
    std::memset(dw->typed_data(), 0, dw->size_bytes());
    if (floats == 0 || dy.element_count() == 0) return;
    const Frame frame = forward_frame(g);
    const Walk walk = forward_walk(g, frame, 1);
    const int64_t ranges = ranges_for(pool, g, floats), stride = aligned_floats(floats);
    Scratch partial((ranges - 1) * stride);
    if (ranges > 1) std::memset(partial.get(), 0, (ranges - 1) * stride * sizeof(float));
    Frames frames(pool, frame, x.typed_data(), g.batch, ranges);
    float* result = dw->typed_data();
    over_positions(pool, g, ranges, [&](int64_t range, int64_t image, int64_t first, int64_t last) {
      DepthwiseOuter outer;
      outer.x = frames.get(image, range);
      outer.segment = walk.segment.data();
      outer.segments = walk.segments();
      outer.channels = g.in_channels;
      outer.dw = range ? partial.get() + (range - 1) * stride : result;
      // In blocks, so that what one vector of channels read is still there for the next.
      for (int64_t row = first; row < last; row += kOuterBlock) {
        outer.x_offset = walk.source.data() + row;
        outer.rows = std::min(kOuterBlock, last - row);
        outer.dy = dy.typed_data() + (image * walk.rows() + row) * g.in_channels;
        loops()->depthwise_outer(outer);
      }
    });
    add_partial_sums(pool, result, partial.get(), floats, stride, ranges - 1);
  });
}

}  // namespace
}  // namespace fitloom

#pragma GCC visibility push(default)

#define CONVOLUTION_BINDING                        \
  ::xla::ffi::Ffi::Bind()                          \
      .Ctx<::xla::ffi::ThreadPool>()               \
      .Arg<::fitloom::Floats>()                    \
      .Arg<::fitloom::Floats>()                    \
      .Ret<::fitloom::Floats>()                    \
      .Attr<::fitloom::Int64s>("strides")          \
      .Attr<::fitloom::Int64s>("lows")             \
      .Attr<::fitloom::Int64s>("dilations")

XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_conv_forward, ::fitloom::conv_forward,
                              CONVOLUTION_BINDING.Attr<int64_t>("groups"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_conv_input_gradient, ::fitloom::conv_input_gradient,
                              CONVOLUTION_BINDING.Attr<int64_t>("groups"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_conv_weight_gradient, ::fitloom::conv_weight_gradient,
                              CONVOLUTION_BINDING.Attr<int64_t>("groups"));
#define CONVOLUTION_ATTRIBUTES                                                                          \
  Attr<::fitloom::Int64s>("strides")                                                                    \
      .Attr<::fitloom::Int64s>("lows")                                                                  \
      .Attr<::fitloom::Int64s>("dilations")                                                             \
      .Attr<int64_t>("groups")
#define THREE ::xla::ffi::Ffi::Bind().Ctx<::xla::ffi::ThreadPool>().Arg<::fitloom::Floats>().Arg<::fitloom::Floats>() \
                  .Arg<::fitloom::Floats>().Ret<::fitloom::Floats>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_conv_bias_forward, ::fitloom::conv_bias_forward,
                              THREE.CONVOLUTION_ATTRIBUTES.Attr<int64_t>("relu"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_conv_relu_input_gradient, ::fitloom::conv_relu_input_gradient,
                              THREE.CONVOLUTION_ATTRIBUTES);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_conv_bias_weight_gradient, ::fitloom::conv_bias_weight_gradient,
                              THREE.Ret<::fitloom::Floats>().CONVOLUTION_ATTRIBUTES);
#define POOLED_ATTRIBUTES                                                                               \
  Attr<::fitloom::Int64s>("sizes")                                                                      \
      .CONVOLUTION_ATTRIBUTES.Attr<int64_t>("relu")                                                     \
      .Attr<::fitloom::Int64s>("window")                                                                \
      .Attr<::fitloom::Int64s>("pool_strides")                                                          \
      .Attr<::fitloom::Int64s>("pool_lows")

XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_conv_pool_forward, ::fitloom::conv_pool_forward,
                              THREE.Ret<::fitloom::Bytes>().POOLED_ATTRIBUTES);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_conv_pool_weight_gradient, ::fitloom::conv_pool_weight_gradient,
                              ::xla::ffi::Ffi::Bind()
                                  .Ctx<::xla::ffi::ThreadPool>()
                                  .Arg<::fitloom::Floats>()
                                  .Arg<::fitloom::Floats>()
                                  .Arg<::fitloom::Floats>()
                                  .Arg<::fitloom::Bytes>()
                                  .Ret<::fitloom::Floats>()
                                  .Ret<::fitloom::Floats>()
                                  .POOLED_ATTRIBUTES);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_depthwise_forward, ::fitloom::depthwise_forward,
                              CONVOLUTION_BINDING);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_depthwise_input_gradient, ::fitloom::depthwise_input_gradient,
                              CONVOLUTION_BINDING);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_depthwise_weight_gradient,
                              ::fitloom::depthwise_weight_gradient, CONVOLUTION_BINDING);

#pragma GCC visibility pop
