// SPDX-License-Identifier: Apache-2.0
// The gradient of an added bias, GELU, layer normalization, and Adam: one pass over the data each.
#include <cstring>
#include <vector>

#include "runtime.h"

namespace fitloom {
namespace {

constexpr int64_t kBlockRows = 256;
// Numbers that one item of work takes; less is not worth another thread.
constexpr int64_t kItemFloats = 32 << 10;

// Calls block(first row, rows, worker's sums) for blocks of rows and adds up in float64 what it leaves in the
// `width` sums. The order depends on the shape only, so the result does not depend on the threads.
template <class Block>
std::vector<double> sums_of_blocks(ffi::ThreadPool& pool, int64_t rows, int64_t columns, int64_t width,
                                   const Block& block) {
  const int64_t block_rows =
      std::max<int64_t>(1, std::min(kBlockRows, kItemFloats / std::max<int64_t>(1, columns)));
  const int64_t blocks = (rows + block_rows - 1) / block_rows;
  // So many blocks share one set of double sums.
  const int64_t share_of = (blocks + 63) / 64, items = (blocks + share_of - 1) / share_of;
  std::vector<double> sums(items * width, 0.0);
  const int64_t workers = threads(pool), floats = aligned_floats(width);
  Scratch scratch(workers * floats);
  parallel(pool, items, workers, [&](int64_t item, int64_t worker) {
    float* part = scratch.get() + worker * floats;
    double* sum = sums.data() + item * width;
    const int64_t end = std::min(rows, (item + 1) * share_of * block_rows);
    for (int64_t row = item * share_of * block_rows; row < end; row += block_rows) {
      block(row, std::min(block_rows, end - row), part);
      for (int64_t j = 0; j < width; j++) sum[j] += part[j];
    }
  });
  std::vector<double> total(width, 0.0);
  for (int64_t item = 0; item < items; item++)
    for (int64_t j = 0; j < width; j++) total[j] += sums[item * width + j];
  return total;
}

void round_to(const double* from, int64_t n, float* to) {
  for (int64_t j = 0; j < n; j++) to[j] = static_cast<float>(from[j]);
}

// Calls f(first, count) for parts of n numbers.
template <class F>
void over_parts(ffi::ThreadPool& pool, int64_t n, const F& f) {
  const int64_t items = std::max<int64_t>(1, n / kItemFloats);
  parallel(pool, items, threads(pool), [&](int64_t item, int64_t) {
    const int64_t first = share(n, item, items);
    f(first, share(n, item + 1, items) - first);
  });
}

// x (rows, channels) -> the sum over the rows
ffi::Error column_sum(ffi::ThreadPool pool, Floats x, FloatResult sum) {
  return guarded("column_sum", [&] {
    const auto d = x.dimensions();
    expect(d.size() == 2 && sum->element_count() == static_cast<size_t>(d[1]), "a matrix, and one sum a column");
    const int64_t channels = d[1];
    if (channels == 0) return;
    // Several rows side by side fill the vectors where there are few channels.
    const int64_t together = std::max<int64_t>(1, std::min(d[0], panel_columns() / channels));
    const int64_t rows = d[0] / together, columns = together * channels;
    const float* a = x.typed_data();
    const auto total =
        sums_of_blocks(pool, rows, columns, columns, [&](int64_t first, int64_t count, float* part) {
          loops()->column_sum(count, columns, a + first * columns, part);
        });
    for (int64_t j = 0; j < channels; j++) {
      double all = 0;
      for (int64_t i = 0; i < together; i++) all += total[i * channels + j];
      for (int64_t row = rows * together; row < d[0]; row++) all += a[row * channels + j];
      sum->typed_data()[j] = static_cast<float>(all);
    }
  });
}

ffi::Error gelu(ffi::ThreadPool pool, Floats x, FloatResult y, int64_t approximate) {
  return guarded("gelu", [&] {
    expect(x.element_count() == y->element_count(), "two arrays of one shape");
    over_parts(pool, static_cast<int64_t>(x.element_count()), [&](int64_t first, int64_t count) {
      loops()->gelu(count, approximate != 0, x.typed_data() + first, y->typed_data() + first);
    });
  });
}

ffi::Error gelu_gradient(ffi::ThreadPool pool, Floats x, Floats dy, FloatResult dx, int64_t approximate) {
  return guarded("gelu_gradient", [&] {
    expect(x.element_count() == dx->element_count() && x.element_count() == dy.element_count(),
           "three arrays of one shape");
    over_parts(pool, static_cast<int64_t>(x.element_count()), [&](int64_t first, int64_t count) {
      loops()->gelu_gradient(count, approximate != 0, x.typed_data() + first, dy.typed_data() + first,
                             dx->typed_data() + first);
    });
  });
}

// n gradients, n values, n first and n second moments -> n new values, first and second moments. One call for all
// variables of a model, so that the values may be overwritten: nothing else of the step reads them afterwards.
ffi::Error adam(ffi::ThreadPool pool, Floats rate, ffi::RemainingArgs operands, ffi::RemainingRets results,
                float mean_weight, float square_weight, float epsilon) {
  return guarded("adam", [&] {
    const int64_t count = static_cast<int64_t>(results.size()) / 3;
    expect(rate.element_count() == 1 && results.size() == static_cast<size_t>(3 * count) &&
               operands.size() == static_cast<size_t>(4 * count),
           "a rate, and for each variable its gradient, value and moments");
    struct Part {
      const float* in[4];
      float* out[3];
      int64_t n;
    };
    std::vector<Part> parts;
    for (int64_t i = 0; i < count; i++) {
      Part whole;
      int64_t n = -1;
      const auto meet = [&](size_t elements) {
        expect(n < 0 || n == static_cast<int64_t>(elements), "arrays of one shape for each variable");
        n = static_cast<int64_t>(elements);
      };
      for (int j = 0; j < 4; j++) {
        const auto operand = operands.get<Floats>(j * count + i);
        expect(operand.has_value(), "float32 operands");
        whole.in[j] = operand->typed_data();
        meet(operand->element_count());
      }
      for (int j = 0; j < 3; j++) {
        auto result = results.get<Floats>(j * count + i);
        expect(result.has_value(), "float32 results");
        whole.out[j] = (*result)->typed_data();
        meet((*result)->element_count());
      }
      for (int64_t first = 0; first < n; first += kItemFloats) {
        Part part = whole;
        part.n = std::min(kItemFloats, n - first);
        for (auto& a : part.in) a += first;
        for (auto& a : part.out) a += first;
        parts.push_back(part);
      }
    }
    const AdamStep step = {rate.typed_data()[0], mean_weight, square_weight, epsilon};
    parallel(pool, static_cast<int64_t>(parts.size()), threads(pool), [&](int64_t item, int64_t) {
      const Part& p = parts[item];
      loops()->adam(p.n, step, p.in[0], p.in[1], p.in[2], p.in[3], p.out[0], p.out[1], p.out[2]);
    });
  });
}

// x (rows, n), gamma and beta (n) or empty -> y, and mean and 1 / deviation of each row (rows, 2).
ffi::Error layer_norm(ffi::ThreadPool pool, Floats x, Floats gamma, Floats beta, FloatResult y,
                      FloatResult moments, float epsilon) {
  return guarded("layer_norm", [&] {
    const auto d = x.dimensions();
    expect(d.size() == 2 && y->element_count() == x.element_count(), "two matrices of one shape");
    const int64_t rows = d[0], n = d[1];
    const auto whole_or_none = [&](const Floats& a) {
      return a.element_count() == 0 || a.element_count() == static_cast<size_t>(n);
    };
    expect(whole_or_none(gamma) && whole_or_none(beta) &&
               moments->element_count() == static_cast<size_t>(2 * rows),
           "shapes of scale, offset and moments");
    const float* g = gamma.element_count() ? gamma.typed_data() : nullptr;
    const float* b = beta.element_count() ? beta.typed_data() : nullptr;
    const int64_t items = std::max<int64_t>(1, std::min(rows, rows * n / kItemFloats));
    parallel(pool, items, threads(pool), [&](int64_t item, int64_t) {
      const int64_t last = share(rows, item + 1, items);
      for (int64_t row = share(rows, item, items); row < last; row++)
        loops()->layer_norm(n, epsilon, x.typed_data() + row * n, g, b, y->typed_data() + row * n,
                            moments->typed_data() + 2 * row);
    });
  });
}

ffi::Error layer_norm_gradient(ffi::ThreadPool pool, Floats x, Floats gamma, Floats moments, Floats dy,
                               FloatResult dx, FloatResult dgamma, FloatResult dbeta) {
  return guarded("layer_norm_gradient", [&] {
    const auto d = x.dimensions();
    expect(d.size() == 2 && dy.element_count() == x.element_count() && dx->element_count() == x.element_count(),
           "three matrices of one shape");
    const int64_t rows = d[0], n = d[1];
    expect((gamma.element_count() == 0 || gamma.element_count() == static_cast<size_t>(n)) &&
               moments.element_count() == static_cast<size_t>(2 * rows) &&
               dgamma->element_count() == static_cast<size_t>(n) && dbeta->element_count() == static_cast<size_t>(n),
           "shapes of scale, offset and moments");
    const float* g = gamma.element_count() ? gamma.typed_data() : nullptr;
    const auto total = sums_of_blocks(pool, rows, n, 2 * n, [&](int64_t first, int64_t count, float* part) {
      std::memset(part, 0, 2 * n * sizeof(float));
      for (int64_t row = first; row < first + count; row++)
        loops()->layer_norm_gradient(n, x.typed_data() + row * n, g, moments.typed_data() + 2 * row,
                                     dy.typed_data() + row * n, dx->typed_data() + row * n, part, part + n);
    });
    round_to(total.data(), n, dgamma->typed_data());
    round_to(total.data() + n, n, dbeta->typed_data());
  });
}

}  // namespace
}  // namespace fitloom

#pragma GCC visibility push(default)

#define BINDING ::xla::ffi::Ffi::Bind().Ctx<::xla::ffi::ThreadPool>()
#define IN Arg<::fitloom::Floats>()
#define OUT Ret<::fitloom::Floats>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_column_sum, ::fitloom::column_sum, BINDING.IN.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_gelu, ::fitloom::gelu, BINDING.IN.OUT.Attr<int64_t>("approximate"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_gelu_gradient, ::fitloom::gelu_gradient,
                              BINDING.IN.IN.OUT.Attr<int64_t>("approximate"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_adam, ::fitloom::adam,
                              BINDING.IN.RemainingArgs()
                                  .RemainingRets()
                                  .Attr<float>("mean_weight")
                                  .Attr<float>("square_weight")
                                  .Attr<float>("epsilon"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_layer_norm, ::fitloom::layer_norm,
                              BINDING.IN.IN.IN.OUT.OUT.Attr<float>("epsilon"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_layer_norm_gradient, ::fitloom::layer_norm_gradient,
                              BINDING.IN.IN.IN.IN.OUT.OUT.OUT);

#pragma GCC visibility pop
