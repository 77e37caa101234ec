// SPDX-License-Identifier: Apache-2.0
// LSTM and GRU over whole sequences, and dense layers with their weight gradients.
//
// The rows of the batch are independent, so each thread takes some of them through the whole
// time loop and never waits for another; the recurrent matrix is packed once. Arrays are
// (batch, time, columns), as the caller has them. Masks are (batch, time), or empty.
#include <cstring>

#include "runtime.h"

namespace fitloom {
namespace {

// Fewer rows than this leave the tiles of the matrix product half empty.
constexpr int64_t kRowsPerThread = 4;
// Rows of one product of inputs and kernel: enough to fill the tiles, few enough that the results are still in the
// cache when the recurrent part is added.
constexpr int64_t kProjectedRows = 24;
// Rows of the batch that one thread takes through the time loop together: their gates stay in the second-level cache.
constexpr int64_t kRowsTogether = 48;
// Floats of a matrix that one thread packs as fast as several do, and floats of the rows of one product.
constexpr int64_t kPackedByOne = 64 << 10;
constexpr int64_t kRowFloats = 24 << 10;
// With fewer rows than this, packing the whole kernel first costs more than threads that read the same rows; and the
// rows of the kernel that are packed, and the rows that are multiplied by them, at once.
constexpr int64_t kManyRows = 512, kPanelDepth = 128, kRowsAtOnce = 24;
constexpr int64_t kLineFloats = 16;

// A matrix packed for products from the left, `rows` deep.
class PackedMatrix {
 public:
  PackedMatrix(const float* matrix, int64_t rows, int64_t columns, ptrdiff_t row_stride,
               ptrdiff_t column_stride)
      : rows_(rows), columns_(columns), memory_(packed_floats(rows, columns)) {
    pack_matrix(matrix, row_stride, column_stride, rows, columns, memory_.get());
  }

  // c (+)= a times this matrix, or bias + that; row m of a begins at a_offset[m], of c at c_offset[m].
  void multiply(const float* a, const ptrdiff_t* a_offset, int64_t rows, float* c,
                const ptrdiff_t* c_offset, bool accumulate, const float* bias = nullptr) const {
    multiply_rows(a, a_offset, rows, rows_, memory_.get(), columns_, c, c_offset, accumulate, bias);
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

ffi::Error lstm(ffi::ThreadPool pool, Floats x, Floats kernel, Floats recurrent_kernel, Floats bias,
                        Floats h0, Floats c0, Bools mask, FloatResult hidden, FloatResult cells,
                        FloatResult gates) {
  return guarded("lstm", [&] {
    const Sequence s =
        sequence(gates->dimensions(), recurrent_kernel.dimensions(), h0.dimensions(), mask, 4);
    const int64_t units = s.units, columns = 4 * units;
    expect(x.dimensions().size() == 3 && kernel.dimensions().size() == 2, "ranks of inputs and kernel");
    const int64_t features = x.dimensions()[2];
    expect_sequence(x.dimensions(), s, features, "shape of the inputs");
    expect(kernel.dimensions()[0] == features && kernel.dimensions()[1] == columns, "shape of the kernel");
    expect(bias.element_count() == static_cast<size_t>(columns), "shape of the bias");
    expect_state(c0.dimensions(), s, "shape of the first cell state");
    expect_sequence(hidden->dimensions(), s, units, "shape of the outputs");
    expect_sequence(cells->dimensions(), s, units, "shape of the cell states");
    if (hidden->element_count() == 0) return;
    const PackedMatrix input_matrix(kernel.typed_data(), features, columns, columns, 1);
    const PackedMatrix matrix(recurrent_kernel.typed_data(), units, columns, columns, 1);
    const int64_t workers = workers_for(pool, s.batch);
    const int64_t most_rows = (s.batch + workers - 1) / workers;
    // Inputs of several steps are multiplied together where one step has too few rows.
    const int64_t most_steps = std::min(s.time, std::max<int64_t>(1, kProjectedRows / most_rows));
    const auto offsets = [&](int64_t width) {
      std::vector<ptrdiff_t> all(most_rows * most_steps);
      for (int64_t i = 0; i < most_rows * most_steps; i++)
        all[i] = (i % most_rows * s.time + i / most_rows) * width;
      return all;
    };
    const auto h_offset = multiples(most_rows, units), x_offset = offsets(features);
    const auto gate_offset = offsets(columns);
    const int64_t floats = aligned_floats(most_rows * units);
    Scratch scratch(workers * floats);
    over_rows(pool, s.batch, workers, [&](int64_t first, int64_t rows, int64_t worker) {
      float* h = scratch.get() + worker * floats;
      copy(h, h0.typed_data() + first * units, rows * units);
      for (int64_t t = 0; t < s.time; t++) {
        float* sums = gates->typed_data() + (first * s.time + t) * columns;
        if (t % most_steps == 0) {
          const float* inputs = x.typed_data() + (first * s.time + t) * features;
          const int64_t steps = std::min(most_steps, s.time - t);
          if (rows == most_rows) {
            input_matrix.multiply(inputs, x_offset.data(), rows * steps, sums, gate_offset.data(), false,
                                  bias.typed_data());
          } else {
            for (int64_t step = 0; step < steps; step++)
              input_matrix.multiply(inputs, x_offset.data() + step * most_rows, rows, sums,
                                    gate_offset.data() + step * most_rows, false, bias.typed_data());
          }
        }
        matrix.multiply(h, h_offset.data(), rows, sums, gate_offset.data(), true);
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

// As `lstm`, without what only the gradient needs: gates and cell states stay in the cache.
ffi::Error lstm_inference(ffi::ThreadPool pool, Floats x, Floats kernel, Floats recurrent_kernel, Floats bias,
                          Floats h0, Floats c0, Bools mask, FloatResult hidden, FloatResult last_c) {
  return guarded("lstm_inference", [&] {
    const auto d = x.dimensions(), k = kernel.dimensions(), state = h0.dimensions();
    expect(d.size() == 3 && k.size() == 2 && state.size() == 2, "ranks of inputs, kernel and state");
    const int64_t features = d[2], units = state[1], columns = 4 * units;
    const int64_t gates[] = {d[0], d[1], columns};
    const Sequence s = sequence(ffi::Span<const int64_t>(gates, 3), recurrent_kernel.dimensions(), state, mask, 4);
    expect(k[0] == features && k[1] == columns, "shape of the kernel");
    expect(bias.element_count() == static_cast<size_t>(columns), "shape of the bias");
    expect_state(c0.dimensions(), s, "shape of the first cell state");
    expect_state(last_c->dimensions(), s, "shape of the last cell state");
    expect_sequence(hidden->dimensions(), s, units, "shape of the outputs");
    copy(last_c->typed_data(), c0.typed_data(), s.batch * units);
    if (hidden->element_count() == 0) return;
    const PackedMatrix input_matrix(kernel.typed_data(), features, columns, columns, 1);
    const PackedMatrix matrix(recurrent_kernel.typed_data(), units, columns, columns, 1);
    const int64_t workers = workers_for(pool, s.batch);
    const int64_t items = std::max(workers, (s.batch + kRowsTogether - 1) / kRowsTogether);
    const int64_t most_rows = (s.batch + items - 1) / items;
    const auto h_offset = multiples(most_rows, units), x_offset = multiples(most_rows, s.time * features);
    const auto gate_offset = multiples(most_rows, columns);
    const int64_t h_floats = aligned_floats(most_rows * units);
    const int64_t floats = h_floats + aligned_floats(most_rows * columns);
    Scratch scratch(workers * floats);
    parallel(pool, items, workers, [&](int64_t item, int64_t worker) {
      const int64_t first = share(s.batch, item, items), rows = share(s.batch, item + 1, items) - first;
      float* h = scratch.get() + worker * floats;
      float* sums = h + h_floats;
      float* c = last_c->typed_data() + first * units;
      copy(h, h0.typed_data() + first * units, rows * units);
      for (int64_t t = 0; t < s.time; t++) {
        input_matrix.multiply(x.typed_data() + (first * s.time + t) * features, x_offset.data(), rows, sums,
                              gate_offset.data(), false, bias.typed_data());
        matrix.multiply(h, h_offset.data(), rows, sums, gate_offset.data(), true);
        for (int64_t m = 0; m < rows; m++) {
          float* state_h = h + m * units;
          if (s.valid(first + m, t))
            loops()->lstm_forward(units, sums + m * columns, c + m * units, c + m * units, state_h);
          copy(hidden->typed_data() + ((first + m) * s.time + t) * units, state_h, units);
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

// As `gru_forward`, with the product of inputs and kernel, and without what only the gradient needs.
ffi::Error gru_inference(ffi::ThreadPool pool, Floats x, Floats kernel, Floats recurrent_kernel, Floats input_bias,
                         Floats recurrent_bias, Floats h0, Bools mask, FloatResult hidden) {
  return guarded("gru_inference", [&] {
    const auto d = x.dimensions(), k = kernel.dimensions(), state = h0.dimensions();
    expect(d.size() == 3 && k.size() == 2 && state.size() == 2, "ranks of inputs, kernel and state");
    const int64_t features = d[2], units = state[1], columns = 3 * units;
    const int64_t gates[] = {d[0], d[1], columns};
    const Sequence s = sequence(ffi::Span<const int64_t>(gates, 3), recurrent_kernel.dimensions(), state, mask, 3);
    expect(k[0] == features && k[1] == columns, "shape of the kernel");
    expect(input_bias.element_count() == static_cast<size_t>(columns) &&
               recurrent_bias.element_count() == static_cast<size_t>(columns),
           "shapes of the biases");
    expect_sequence(hidden->dimensions(), s, units, "shape of the outputs");
    if (hidden->element_count() == 0) return;
    const PackedMatrix input_matrix(kernel.typed_data(), features, columns, columns, 1);
    const PackedMatrix matrix(recurrent_kernel.typed_data(), units, columns, columns, 1);
    const int64_t workers = workers_for(pool, s.batch);
    const int64_t items = std::max(workers, (s.batch + kRowsTogether - 1) / kRowsTogether);
    const int64_t most_rows = (s.batch + items - 1) / items;
    const auto h_offset = multiples(most_rows, units), x_offset = multiples(most_rows, s.time * features);
    const auto sum_offset = multiples(most_rows, columns);
    const int64_t h_floats = aligned_floats(most_rows * units), sum_floats = aligned_floats(most_rows * columns);
    const int64_t floats = h_floats + 2 * sum_floats + aligned_floats(4 * units);
    Scratch scratch(workers * floats);
    parallel(pool, items, workers, [&](int64_t item, int64_t worker) {
      const int64_t first = share(s.batch, item, items), rows = share(s.batch, item + 1, items) - first;
      float* h = scratch.get() + worker * floats;
      float *projected = h + h_floats, *recurrent = projected + sum_floats, *gate = recurrent + sum_floats;
      copy(h, h0.typed_data() + first * units, rows * units);
      for (int64_t t = 0; t < s.time; t++) {
        input_matrix.multiply(x.typed_data() + (first * s.time + t) * features, x_offset.data(), rows, projected,
                              sum_offset.data(), false, input_bias.typed_data());
        matrix.multiply(h, h_offset.data(), rows, recurrent, sum_offset.data(), false, recurrent_bias.typed_data());
        for (int64_t m = 0; m < rows; m++) {
          float* state_h = h + m * units;
          if (s.valid(first + m, t))
            loops()->gru_forward(units, projected + m * columns, recurrent + m * columns, state_h, gate, state_h);
          copy(hidden->typed_data() + ((first + m) * s.time + t) * units, state_h, units);
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

// Calls body(first row of dw, rows, first column, columns, worker) for each thread's part of a product a^T d of
// `inputs` x `columns`. A thread copies all it reads of d, so threads share the columns where these are many.
template <class Body>
void over_parts_of_product(ffi::ThreadPool& pool, int64_t inputs, int64_t columns, const Body& body) {
  const int64_t panels = (columns + panel_columns() - 1) / panel_columns(), most = threads(pool);
  const bool by_columns = panels >= 2 * most && columns >= inputs;
  const bool by_rows = !by_columns && (inputs >= 24 * most || panels == 1);
  const int64_t workers = std::min(most, by_rows ? std::max<int64_t>(1, inputs / 6) : panels);
  parallel(pool, workers, workers, [&](int64_t part, int64_t worker) {
    if (by_rows) {
      const int64_t row = share(inputs, part, workers);
      body(row, share(inputs, part + 1, workers) - row, 0, columns, worker);
    } else {
      const int64_t column = share(panels, part, workers) * panel_columns();
      const int64_t end = std::min(columns, share(panels, part + 1, workers) * panel_columns());
      body(0, inputs, column, end - column, worker);
    }
  });
}

// y = x kernel + bias for few rows: a thread packs panels of its own, so many rows of the kernel at a time as stay in
// the first-level cache, and multiplies all of x by them. The next ones are on their way meanwhile.
void dense_by_panels(ffi::ThreadPool& pool, const float* x, int64_t rows, int64_t inputs, const float* kernel,
                     int64_t columns, bool transposed, const float* bias, float* y) {
  const int64_t panels = (columns + panel_columns() - 1) / panel_columns();
  const int64_t workers = std::min(threads(pool), panels), floats = aligned_floats(kPanelDepth * panel_columns());
  const ptrdiff_t row_stride = transposed ? 1 : columns, column_stride = transposed ? inputs : 1;
  const auto x_offset = multiples(rows, inputs), y_offset = multiples(rows, columns);
  const int64_t blocks = (inputs + kPanelDepth - 1) / kPanelDepth;
  Scratch scratch(workers * floats);
  parallel(pool, panels, workers, [&](int64_t panel, int64_t worker) {
    float* packed = scratch.get() + worker * floats;
    const int64_t column = panel * panel_columns(), width = std::min(panel_columns(), columns - column);
    const float* from = kernel + column * column_stride;
    for (int64_t block = 0; block < blocks; block++) {
      const int64_t k = share(inputs, block, blocks), depth = share(inputs, block + 1, blocks) - k;
      loops()->pack(from + k * row_stride, row_stride, column_stride, depth, width, packed);
      const int64_t next = block + 1 < blocks ? share(inputs, block + 2, blocks) - k - depth : 0;
      const float* ahead = from + (k + depth) * row_stride;
      // The runs of memory that hold the next block: its rows, or its columns.
      const int64_t runs = transposed ? width : next, run = transposed ? next : width;
      for (int64_t row = 0; row < rows; row += kRowsAtOnce) {
        const int64_t count = std::min(kRowsAtOnce, rows - row);
        if (next)
          for (int64_t i = runs * row / rows; i < runs * (row + count) / rows; i++)
            for (int64_t j = 0; j < run; j += kLineFloats)
              __builtin_prefetch(ahead + i * (transposed ? inputs : columns) + j, 0, 2);
        multiply_rows(x + row * inputs + k, x_offset.data(), count, depth, packed, width, y + row * columns + column,
                      y_offset.data(), block > 0, block == 0 && bias ? bias + column : nullptr);
      }
    }
  });
}

// x (rows, inputs), kernel (inputs, columns), or transposed, bias (columns) or empty -> y = x kernel + bias
ffi::Error dense(ffi::ThreadPool pool, Floats x, Floats kernel, Floats bias, FloatResult y, int64_t transposed) {
  return guarded("dense", [&] {
    const auto a = x.dimensions(), k = kernel.dimensions(), c = y->dimensions();
    expect(a.size() == 2 && k.size() == 2 && c.size() == 2, "three matrices");
    const int64_t rows = a[0], inputs = a[1], columns = c[1];
    expect(c[0] == rows && k[transposed ? 1 : 0] == inputs && k[transposed ? 0 : 1] == columns,
           "shapes that can be multiplied");
    expect(bias.element_count() == 0 || bias.element_count() == static_cast<size_t>(columns), "shape of the bias");
    const int64_t panels = (columns + panel_columns() - 1) / panel_columns();
    if (rows < kManyRows && panels >= threads(pool))
      return dense_by_panels(pool, x.typed_data(), rows, inputs, kernel.typed_data(), columns, transposed != 0,
                             bias.element_count() ? bias.typed_data() : nullptr, y->typed_data());
    Scratch packed(packed_floats(inputs, columns));
    const auto pack_panel = [&](int64_t panel, int64_t) {
      const int64_t column = panel * panel_columns(), width = std::min(panel_columns(), columns - column);
      const float* from = kernel.typed_data() + column * (transposed ? inputs : 1);
      loops()->pack(from, transposed ? 1 : columns, transposed ? inputs : 1, inputs, width,
                    packed.get() + column * inputs);
    };
    parallel(pool, panels, inputs * columns < kPackedByOne ? 1 : threads(pool), pack_panel);
    // As many rows at once as stay in the second-level cache beside a panel.
    const int64_t most = std::max<int64_t>(24, std::min<int64_t>(192, kRowFloats / std::max<int64_t>(1, inputs)));
    const int64_t workers = threads(pool);
    const int64_t blocks = std::max((rows + most - 1) / most, std::min(workers, rows / 24));
    const auto x_offset = multiples(most, inputs), y_offset = multiples(most, columns);
    const float* start = bias.element_count() ? bias.typed_data() : nullptr;
    parallel(pool, blocks, workers, [&](int64_t block, int64_t) {
      const int64_t row = share(rows, block, blocks), count = share(rows, block + 1, blocks) - row;
      multiply_rows(x.typed_data() + row * inputs, x_offset.data(), count, inputs, packed.get(), columns,
                    y->typed_data() + row * columns, y_offset.data(), false, start);
    });
  });
}

// x (rows, inputs), dy (rows, columns) -> dw (inputs, columns), db (columns)
ffi::Error dense_gradient(ffi::ThreadPool pool, Floats x, Floats dy, FloatResult dw,
                          FloatResult db) {
  return guarded("dense_gradient", [&] {
    const auto a = x.dimensions(), d = dy.dimensions();
    expect(a.size() == 2 && d.size() == 2 && a[0] == d[0], "two matrices with as many rows");
    const int64_t rows = a[0], inputs = a[1], columns = d[1];
    expect(dw->element_count() == static_cast<size_t>(inputs * columns) &&
               db->element_count() == static_cast<size_t>(columns),
           "shapes of the results");
    if (rows == 0) clear(dw->typed_data(), inputs * columns);
    clear(db->typed_data(), columns);
    const auto offset = multiples(kOuterBlock, inputs);
    const int64_t floats = aligned_floats(loops()->outer_scratch(1, inputs));
    Scratch scratch(threads(pool) * floats);
    over_parts_of_product(pool, inputs, columns, [&](int64_t row, int64_t length, int64_t column, int64_t width,
                                                     int64_t worker) {
      for (int64_t m = 0; m < rows; m += kOuterBlock)
        add_outer(x.typed_data() + m * inputs + row, offset.data(), std::min(kOuterBlock, rows - m), length,
                  dy.typed_data() + m * columns + column, columns, width, dw->typed_data() + row * columns + column,
                  columns, row == 0 ? db->typed_data() + column : nullptr, scratch.get() + worker * floats, m == 0);
    });
  });
}

// The inputs and the state before each step, times the gradient of the step's gates: x (batch, time, features), h0
// (batch, units), hidden (batch, time, units), da (batch, time, columns) -> (features, columns), (units, columns),
// and the sum of da. da, the largest, is read once.
ffi::Error recurrent_gradients(ffi::ThreadPool pool, Floats x, Floats h0, Floats hidden, Floats da,
                              FloatResult dkernel, FloatResult drecurrent, FloatResult db) {
  return guarded("recurrent_gradients", [&] {
    const auto in = x.dimensions(), h = hidden.dimensions(), d = da.dimensions();
    expect(in.size() == 3 && h.size() == 3 && d.size() == 3, "three sequences");
    expect(in[0] == d[0] && h[0] == d[0] && in[1] == d[1] && h[1] == d[1], "sequences of one length");
    const int64_t batch = h[0], time = h[1], features = in[2], units = h[2], columns = d[2];
    expect(h0.element_count() == static_cast<size_t>(batch * units), "shape of h0");
    expect(dkernel->element_count() == static_cast<size_t>(features * columns) &&
               drecurrent->element_count() == static_cast<size_t>(units * columns) &&
               db->element_count() == static_cast<size_t>(columns),
           "shapes of the results");
    const int64_t inputs = features + units, rows = batch * time;
    const int64_t outer_floats = aligned_floats(loops()->outer_scratch(1, inputs));
    const int64_t floats = outer_floats + aligned_floats(kOuterBlock * inputs);
    const auto offset = multiples(kOuterBlock, inputs);
    Scratch scratch(threads(pool) * floats), both(inputs * columns);
    if (rows == 0) clear(both.get(), inputs * columns);
    clear(db->typed_data(), columns);
    over_parts_of_product(pool, inputs, columns, [&](int64_t row, int64_t length, int64_t column, int64_t width,
                                                     int64_t worker) {
      float* outer_scratch = scratch.get() + worker * floats;
      float* joined = outer_scratch + outer_floats;
      for (int64_t m = 0; m < rows; m += kOuterBlock) {
        const int64_t count = std::min(kOuterBlock, rows - m);
        for (int64_t i = 0; i < count; i++) {
          const int64_t at = m + i, b = at / time;
          const float* before = at % time ? hidden.typed_data() + (at - 1) * units : h0.typed_data() + b * units;
          copy(joined + i * inputs, x.typed_data() + at * features, features);
          copy(joined + i * inputs + features, before, units);
        }
        add_outer(joined + row, offset.data(), count, length, da.typed_data() + m * columns + column, columns, width,
                  both.get() + row * columns + column, columns, row == 0 ? db->typed_data() + column : nullptr,
                  outer_scratch, m == 0);
      }
    });
    copy(dkernel->typed_data(), both.get(), features * columns);
    copy(drecurrent->typed_data(), both.get() + features * columns, units * columns);
  });
}

}  // namespace
}  // namespace fitloom

#pragma GCC visibility push(default)

#define BINDING ::xla::ffi::Ffi::Bind().Ctx<::xla::ffi::ThreadPool>()
#define IN Arg<::fitloom::Floats>()
#define MASK Arg<::fitloom::Bools>()
#define OUT Ret<::fitloom::Floats>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_lstm, ::fitloom::lstm,
                              BINDING.IN.IN.IN.IN.IN.IN.MASK.OUT.OUT.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_lstm_inference, ::fitloom::lstm_inference,
                              BINDING.IN.IN.IN.IN.IN.IN.MASK.OUT.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_lstm_backward, ::fitloom::lstm_backward,
                              BINDING.IN.IN.IN.IN.IN.IN.MASK.OUT.OUT.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_gru_forward, ::fitloom::gru_forward,
                              BINDING.IN.IN.IN.IN.MASK.OUT.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_gru_inference, ::fitloom::gru_inference,
                              BINDING.IN.IN.IN.IN.IN.IN.MASK.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_gru_backward, ::fitloom::gru_backward,
                              BINDING.IN.IN.IN.IN.IN.MASK.OUT.OUT.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_dense, ::fitloom::dense, BINDING.IN.IN.IN.OUT.Attr<int64_t>("transposed"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_dense_gradient, ::fitloom::dense_gradient,
                              BINDING.IN.IN.OUT.OUT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_recurrent_gradients, ::fitloom::recurrent_gradients,
                              BINDING.IN.IN.IN.IN.OUT.OUT.OUT);

#pragma GCC visibility pop
