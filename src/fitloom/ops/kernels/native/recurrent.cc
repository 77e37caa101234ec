// SPDX-License-Identifier: Apache-2.0
// LSTM and GRU over whole sequences, and the weight gradient of dense layers.
//
// The rows of the batch are independent, so each thread takes some of them through the whole
// time loop and never waits for another; the recurrent matrix is packed once. Arrays are
// (batch, time, columns), as the caller has them. Masks are (batch, time), or empty.
#include <cstring>
#include <vector>

#include "runtime.h"

namespace fitloom {
namespace {

// Fewer rows than this leave the tiles of the matrix product half empty.
constexpr int64_t kRowsPerThread = 4;

std::vector<ptrdiff_t> multiples(int64_t count, int64_t step) {
  std::vector<ptrdiff_t> all(count);
  for (int64_t i = 0; i < count; i++) all[i] = i * step;
  return all;
}

// A matrix packed for products from the left, `rows` deep.
class PackedMatrix {
 public:
  PackedMatrix(const float* matrix, int64_t rows, int64_t columns, ptrdiff_t row_stride,
               ptrdiff_t column_stride)
      : rows_(rows), columns_(columns), memory_(packed_floats(rows, columns)) {
    float* out = memory_.get();
    for (int64_t column = 0; column < columns; column += panel_columns()) {
      const int64_t width = std::min(columns - column, panel_columns());
      loops()->pack(matrix + column * column_stride, row_stride, column_stride, rows, width, out);
      out += packed_floats(rows, width);
    }
  }

  // c (+)= a times this matrix; row m of a begins at a_offset[m], of c at c_offset[m].
  void multiply(const float* a, const ptrdiff_t* a_offset, int64_t rows, float* c,
                const ptrdiff_t* c_offset, bool accumulate) const {
    const ptrdiff_t zero = 0;
    Product product;
    product.a = a;
    product.a_offset = a_offset;
    product.rows = rows;
    product.segment = &zero;
    product.segments = 1;
    product.length = rows_;
    product.b = memory_.get();
    product.columns = columns_;
    product.c = c;
    product.c_offset = c_offset;
    product.accumulate = accumulate;
    product.narrow = false;
    loops()->multiply(product);
  }

 private:
  int64_t rows_, columns_;
  Scratch memory_;
};

struct Sequence {
  int64_t batch, time, units;
  const bool* mask;  // or nullptr

  bool valid(int64_t row, int64_t t) const { return !mask || mask[row * time + t]; }
};

// z (batch, time, gates * units), recurrent kernel (units, gates * units), first state (batch,
// units).
template <class Dims>
Sequence sequence(const Dims& z, const Dims& kernel, const Dims& first, Bools mask, int64_t gates) {
  expect(z.size() == 3 && kernel.size() == 2 && first.size() == 2, "ranks");
  Sequence s;
  s.batch = z[0];
  s.time = z[1];
  s.units = kernel[0];
  expect(z[2] == gates * s.units && kernel[1] == gates * s.units, "numbers of gates");
  expect(first[0] == s.batch && first[1] == s.units, "shape of the first state");
  const auto m = mask.dimensions();
  const bool masked = m.size() == 2;
  expect(!masked || (m[0] == s.batch && m[1] == s.time), "shape of the mask");
  s.mask = masked ? mask.typed_data() : nullptr;
  return s;
}

template <class Dims>
void expect_sequence(const Dims& d, const Sequence& s, int64_t columns, const char* what) {
  expect(d.size() == 3 && d[0] == s.batch && d[1] == s.time && d[2] == columns, what);
}

template <class Dims>
void expect_state(const Dims& d, const Sequence& s, const char* what) {
  expect(d.size() == 2 && d[0] == s.batch && d[1] == s.units, what);
}

// Calls body(first row, rows, worker) for each thread's share of the batch.
template <class Body>
void over_rows(ffi::ThreadPool& pool, int64_t batch, int64_t workers, const Body& body) {
  parallel(pool, workers, workers, [&](int64_t part, int64_t worker) {
    const int64_t first = share(batch, part, workers);
    body(first, share(batch, part + 1, workers) - first, worker);
  });
}

int64_t workers_for(const ffi::ThreadPool& pool, int64_t batch) {
  return std::min(threads(pool), std::max<int64_t>(1, batch / kRowsPerThread));
}

void copy(float* to, const float* from, int64_t floats) {
  std::memcpy(to, from, floats * sizeof(float));
}
void clear(float* to, int64_t floats) { std::memset(to, 0, floats * sizeof(float)); }

ffi::Error lstm_forward(ffi::ThreadPool pool, Floats z, Floats kernel, Floats h0, Floats c0,
                        Bools mask, FloatResult hidden, FloatResult cells, FloatResult gates) {
  return guarded("lstm_forward", [&] {
    const Sequence s = sequence(z.dimensions(), kernel.dimensions(), h0.dimensions(), mask, 4);
    const int64_t units = s.units, columns = 4 * units;
    expect_state(c0.dimensions(), s, "shape of the first cell state");
    expect_sequence(hidden->dimensions(), s, units, "shape of the outputs");
    expect_sequence(cells->dimensions(), s, units, "shape of the cell states");
    expect_sequence(gates->dimensions(), s, columns, "shape of the gates");
    if (hidden->element_count() == 0) return;
    const PackedMatrix matrix(kernel.typed_data(), units, columns, columns, 1);
    const int64_t workers = workers_for(pool, s.batch);
    const int64_t most_rows = (s.batch + workers - 1) / workers;
    const auto h_offset = multiples(most_rows, units);
    const auto gate_offset = multiples(most_rows, s.time * columns);
    const int64_t floats = aligned_floats(most_rows * units);
    Scratch scratch(workers * floats);
    over_rows(pool, s.batch, workers, [&](int64_t first, int64_t rows, int64_t worker) {
      float* h = scratch.get() + worker * floats;
      copy(h, h0.typed_data() + first * units, rows * units);
      for (int64_t t = 0; t < s.time; t++) {
        for (int64_t m = 0; m < rows; m++) {
          const int64_t at = ((first + m) * s.time + t) * columns;
          copy(gates->typed_data() + at, z.typed_data() + at, columns);
        }
        matrix.multiply(h, h_offset.data(), rows,
                        gates->typed_data() + (first * s.time + t) * columns, gate_offset.data(), true);
        for (int64_t m = 0; m < rows; m++) {
          const int64_t row = first + m, at = row * s.time + t;
          const float* before = t ? cells->typed_data() + (at - 1) * units : c0.typed_data() + row * units;
          float* after = cells->typed_data() + at * units;
          float* out = hidden->typed_data() + at * units;
          if (s.valid(row, t)) {
            loops()->lstm_forward(units, gates->typed_data() + at * columns, before, after, out);
            copy(h + m * units, out, units);
          } else {
            copy(after, before, units);
            copy(out, h + m * units, units);
          }
        }
      }
    });
  });
}

ffi::Error lstm_backward(ffi::ThreadPool pool, Floats kernel, Floats gates, Floats cells, Floats c0,
                         Floats dhidden, Floats dlast_c, Bools mask, FloatResult da,
                         FloatResult dh0, FloatResult dc0) {
  return guarded("lstm_backward", [&] {
    const Sequence s = sequence(gates.dimensions(), kernel.dimensions(), c0.dimensions(), mask, 4);
    const int64_t units = s.units, columns = 4 * units;
    expect_sequence(cells.dimensions(), s, units, "shape of the cell states");
    expect_sequence(dhidden.dimensions(), s, units, "shape of the gradient of the outputs");
    expect_state(dlast_c.dimensions(), s, "shape of the gradient of the last cell state");
    expect_sequence(da->dimensions(), s, columns, "shape of the gradient of the gates");
    expect_state(dh0->dimensions(), s, "shape of the gradient of h0");
    expect_state(dc0->dimensions(), s, "shape of the gradient of c0");
    if (dh0->element_count() == 0) return;
    const PackedMatrix transposed(kernel.typed_data(), columns, units, 1, columns);
    const int64_t workers = workers_for(pool, s.batch);
    const int64_t most_rows = (s.batch + workers - 1) / workers;
    const auto h_offset = multiples(most_rows, units);
    const auto gate_offset = multiples(most_rows, s.time * columns);
    over_rows(pool, s.batch, workers, [&](int64_t first, int64_t rows, int64_t) {
      // The results for the first states serve as the running gradients.
      float* dh = dh0->typed_data() + first * units;
      float* dc = dc0->typed_data() + first * units;
      clear(dh, rows * units);
      copy(dc, dlast_c.typed_data() + first * units, rows * units);
      for (int64_t t = s.time - 1; t >= 0; t--) {
        for (int64_t m = 0; m < rows; m++) {
          const int64_t row = first + m, at = row * s.time + t;
          loops()->add(units, dhidden.typed_data() + at * units, dh + m * units);
          float* out = da->typed_data() + at * columns;
          if (!s.valid(row, t)) {
            clear(out, columns);
            continue;
          }
          const float* before = t ? cells.typed_data() + (at - 1) * units : c0.typed_data() + row * units;
          loops()->lstm_backward(units, gates.typed_data() + at * columns, before,
                                 cells.typed_data() + at * units, dh + m * units, dc + m * units, out);
          if (s.mask) clear(dh + m * units, units);
        }
        // Where a step was masked out, dh passes through beside a product of zeros.
        transposed.multiply(da->typed_data() + (first * s.time + t) * columns, gate_offset.data(), rows,
                            dh, h_offset.data(), s.mask != nullptr);
      }
    });
  });
}

ffi::Error gru_forward(ffi::ThreadPool pool, Floats z, Floats kernel, Floats bias, Floats h0,
                       Bools mask, FloatResult hidden, FloatResult gates) {
  return guarded("gru_forward", [&] {
    const Sequence s = sequence(z.dimensions(), kernel.dimensions(), h0.dimensions(), mask, 3);
    const int64_t units = s.units, columns = 3 * units;
    expect(bias.dimensions().size() == 1 && bias.dimensions()[0] == columns, "shape of the bias");
    expect_sequence(hidden->dimensions(), s, units, "shape of the outputs");
    expect_sequence(gates->dimensions(), s, 4 * units, "shape of the gates");
    if (hidden->element_count() == 0) return;
    const PackedMatrix matrix(kernel.typed_data(), units, columns, columns, 1);
    const int64_t workers = workers_for(pool, s.batch);
    const int64_t most_rows = (s.batch + workers - 1) / workers;
    const auto h_offset = multiples(most_rows, units), gate_offset = multiples(most_rows, columns);
    const int64_t h_floats = aligned_floats(most_rows * units);
    const int64_t floats = h_floats + aligned_floats(most_rows * columns);
    Scratch scratch(workers * floats);
    over_rows(pool, s.batch, workers, [&](int64_t first, int64_t rows, int64_t worker) {
      float* h = scratch.get() + worker * floats;
      float* recurrent = h + h_floats;
      copy(h, h0.typed_data() + first * units, rows * units);
      for (int64_t t = 0; t < s.time; t++) {
        for (int64_t m = 0; m < rows; m++) copy(recurrent + m * columns, bias.typed_data(), columns);
        matrix.multiply(h, h_offset.data(), rows, recurrent, gate_offset.data(), true);
        for (int64_t m = 0; m < rows; m++) {
          const int64_t row = first + m, at = row * s.time + t;
          float* out = hidden->typed_data() + at * units;
          float* gate = gates->typed_data() + at * 4 * units;
          if (s.valid(row, t)) {
            loops()->gru_forward(units, z.typed_data() + at * columns, recurrent + m * columns,
                                 h + m * units, gate, out);
            copy(h + m * units, out, units);
          } else {
            copy(out, h + m * units, units);
            clear(gate, 4 * units);
          }
        }
      }
    });
  });
}

ffi::Error gru_backward(ffi::ThreadPool pool, Floats kernel, Floats gates, Floats hidden, Floats h0,
                        Floats dhidden, Bools mask, FloatResult da, FloatResult da_recurrent,
                        FloatResult dh0) {
  return guarded("gru_backward", [&] {
    const int64_t units = kernel.dimensions()[0], columns = 3 * units;
    const Sequence s =
        sequence(da->dimensions(), kernel.dimensions(), h0.dimensions(), mask, 3);
    expect_sequence(gates.dimensions(), s, 4 * units, "shape of the gates");
    expect_sequence(hidden.dimensions(), s, units, "shape of the outputs");
    expect_sequence(dhidden.dimensions(), s, units, "shape of the gradient of the outputs");
    expect_sequence(da_recurrent->dimensions(), s, columns, "shape of the recurrent gradient");
    expect_state(dh0->dimensions(), s, "shape of the gradient of h0");
    if (dh0->element_count() == 0) return;
    const PackedMatrix transposed(kernel.typed_data(), columns, units, 1, columns);
    const int64_t workers = workers_for(pool, s.batch);
    const int64_t most_rows = (s.batch + workers - 1) / workers;
    const auto h_offset = multiples(most_rows, units);
    const auto gate_offset = multiples(most_rows, s.time * columns);
    over_rows(pool, s.batch, workers, [&](int64_t first, int64_t rows, int64_t) {
      float* dh = dh0->typed_data() + first * units;
      clear(dh, rows * units);
      for (int64_t t = s.time - 1; t >= 0; t--) {
        for (int64_t m = 0; m < rows; m++) {
          const int64_t row = first + m, at = row * s.time + t;
          loops()->add(units, dhidden.typed_data() + at * units, dh + m * units);
          float* out = da->typed_data() + at * columns;
          float* recurrent = da_recurrent->typed_data() + at * columns;
          if (!s.valid(row, t)) {
            clear(out, columns);
            clear(recurrent, columns);
            continue;
          }
          const float* before = t ? hidden.typed_data() + (at - 1) * units : h0.typed_data() + row * units;
          loops()->gru_backward(units, gates.typed_data() + at * 4 * units, before, dh + m * units, out,
                                recurrent);
        }
        transposed.multiply(da_recurrent->typed_data() + (first * s.time + t) * columns,
                            gate_offset.data(), rows, dh, h_offset.data(), true);
      }
    });
  });
}

// Part of a product of a transposed matrix: rows of a and of d, both at constant distances.
struct Rows {
  const float* a;
  ptrdiff_t a_stride;
  const float* d;
  ptrdiff_t d_stride;
  int64_t count;
};

// dw (inputs, columns) = sum over all rows of a^T d; db = sum of d. Threads take different rows
// of dw, or different panels of columns if there are too few rows.
void transposed_product(ffi::ThreadPool& pool, const std::vector<Rows>& parts, int64_t inputs,
                        int64_t columns, float* dw, float* db) {
  clear(dw, inputs * columns);
  clear(db, columns);
  const int64_t panels = (columns + panel_columns() - 1) / panel_columns();
  const bool by_rows = inputs >= 24 * threads(pool) || panels == 1;
  const int64_t workers = std::min(threads(pool), by_rows ? std::max<int64_t>(1, inputs / 6) : panels);
  const int64_t floats = aligned_floats(loops()->outer_scratch(1, inputs));
  Scratch scratch(workers * floats);
  parallel(pool, workers, workers, [&](int64_t part, int64_t worker) {
    const int64_t row0 = by_rows ? share(inputs, part, workers) : 0;
    const int64_t row1 = by_rows ? share(inputs, part + 1, workers) : inputs;
    const int64_t column0 = by_rows ? 0 : share(panels, part, workers) * panel_columns();
    const int64_t column1 =
        by_rows ? columns : std::min(columns, share(panels, part + 1, workers) * panel_columns());
    const ptrdiff_t zero = 0;
    ptrdiff_t offset[kOuterBlock];
    Outer outer;
    outer.a_offset = offset;
    outer.segment = &zero;
    outer.segments = 1;
    outer.length = row1 - row0;
    outer.columns = column1 - column0;
    outer.c = dw + row0 * columns + column0;
    outer.c_stride = columns;
    outer.column_sum = !by_rows || part == 0 ? db + column0 : nullptr;
    outer.scratch = scratch.get() + worker * floats;
    for (const Rows& rows : parts) {
      for (int64_t i = 0; i < kOuterBlock; i++) offset[i] = i * rows.a_stride;
      outer.d_stride = rows.d_stride;
      for (int64_t m = 0; m < rows.count; m += kOuterBlock) {
        outer.a = rows.a + m * rows.a_stride + row0;
        outer.d = rows.d + m * rows.d_stride + column0;
        outer.rows = std::min(kOuterBlock, rows.count - m);
        loops()->outer(outer);
      }
    }
  });
}

// x (rows, inputs), dy (rows, columns) -> dw (inputs, columns), db (columns)
ffi::Error dense_gradient(ffi::ThreadPool pool, Floats x, Floats dy, FloatResult dw,
                          FloatResult db) {
  return guarded("dense_gradient", [&] {
    const auto a = x.dimensions(), d = dy.dimensions();
    expect(a.size() == 2 && d.size() == 2 && a[0] == d[0], "two matrices with as many rows");
    expect(dw->element_count() == static_cast<size_t>(a[1] * d[1]) &&
               db->element_count() == static_cast<size_t>(d[1]),
           "shapes of the results");
    const std::vector<Rows> parts = {{x.typed_data(), a[1], dy.typed_data(), d[1], a[0]}};
    transposed_product(pool, parts, a[1], d[1], dw->typed_data(), db->typed_data());
  });
}

// The state before each step times the gradient of the step's gates: h0 (batch, units), hidden
// (batch, time, units), da (batch, time, columns) -> (units, columns), and the sum of da.
ffi::Error recurrent_gradient(ffi::ThreadPool pool, Floats h0, Floats hidden, Floats da,
                              FloatResult dw, FloatResult db) {
  return guarded("recurrent_gradient", [&] {
    const auto h = hidden.dimensions(), d = da.dimensions();
    expect(h.size() == 3 && d.size() == 3 && h[0] == d[0] && h[1] == d[1], "two sequences");
    const int64_t batch = h[0], time = h[1], units = h[2], columns = d[2];
    expect(h0.element_count() == static_cast<size_t>(batch * units), "shape of h0");
    expect(dw->element_count() == static_cast<size_t>(units * columns) &&
               db->element_count() == static_cast<size_t>(columns),
           "shapes of the results");
    std::vector<Rows> parts;
    if (time > 0) parts.push_back({h0.typed_data(), units, da.typed_data(), time * columns, batch});
    for (int64_t row = 0; row < batch && time > 1; row++)
      parts.push_back({hidden.typed_data() + row * time * units, units,
                       da.typed_data() + (row * time + 1) * columns, columns, time - 1});
    transposed_product(pool, parts, units, columns, dw->typed_data(), db->typed_data());
  });
}

}  // namespace
}  // namespace fitloom

#pragma GCC visibility push(default)

#define BINDING ::xla::ffi::Ffi::Bind().Ctx<::xla::ffi::ThreadPool>()
#define IN Arg<::fitloom::Floats>()
#define MASK Arg<::fitloom::Bools>()
#define OUT Ret<::fitloom::Floats>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_lstm_forward, ::fitloom::lstm_forward,
                              BINDING.IN.IN.IN.IN.MASK.OUT.OUT.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_lstm_backward, ::fitloom::lstm_backward,
                              BINDING.IN.IN.IN.IN.IN.IN.MASK.OUT.OUT.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_gru_forward, ::fitloom::gru_forward,
                              BINDING.IN.IN.IN.IN.MASK.OUT.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_gru_backward, ::fitloom::gru_backward,
                              BINDING.IN.IN.IN.IN.IN.MASK.OUT.OUT.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_dense_gradient, ::fitloom::dense_gradient,
                              BINDING.IN.IN.OUT.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_recurrent_gradient, ::fitloom::recurrent_gradient,
                              BINDING.IN.IN.IN.OUT.OUT);

#pragma GCC visibility pop
