// SPDX-License-Identifier: Apache-2.0
// What every handler needs: work spread over XLA's threads, memory that may be refused, and
// errors that reach Python.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "inner_loops.h"
#include "xla/ffi/api/ffi.h"

namespace fitloom {

namespace ffi = ::xla::ffi;

using Floats = ffi::Buffer<ffi::F32>;
using Bools = ffi::Buffer<ffi::PRED>;
using FloatResult = ffi::Result<Floats>;
using Int64s = ffi::Span<const int64_t>;

// The best version of the inner loops this processor can run, or nullptr.
const InnerLoops* loops();

// Thrown inside handlers, and turned into an error of the XLA program by `guarded`.
struct InvalidShape : std::exception {
  explicit InvalidShape(std::string text) : message(std::move(text)) {}
  const char* what() const noexcept override { return message.c_str(); }
  std::string message;
};

inline void expect(bool condition, const char* what) {
  if (!condition) throw InvalidShape(what);
}

template <class F>
ffi::Error guarded(const char* handler, const F& body) {
  try {
    if (!loops()) return ffi::Error::Internal("fitloom: no kernels for this processor");
    body();
    return ffi::Error::Success();
  } catch (const InvalidShape& error) {
    return ffi::Error::InvalidArgument(std::string("fitloom ") + handler + ": " + error.what());
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                      std::string("fitloom ") + handler + ": out of memory");
  } catch (const std::exception& error) {
    return ffi::Error::Internal(std::string("fitloom ") + handler + ": " + error.what());
  }
}

// Scratch memory aligned to cache lines; throws std::bad_alloc where there is none.
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(int64_t floats) {
    if (floats <= 0) return;
    if (floats > std::numeric_limits<int64_t>::max() / 8) throw std::bad_alloc();
    const size_t bytes = (static_cast<size_t>(floats) * sizeof(float) + 63) / 64 * 64;
    data_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
    if (!data_) throw std::bad_alloc();
  }
  float* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
};

// Rounded up so that the shares of different threads lie on different cache lines.
inline int64_t aligned_floats(int64_t floats) { return (floats + 15) / 16 * 16; }

// Call f(item, worker) for every item below `items` on at most `workers` threads; `worker` is
// below `workers` and belongs to one thread, for its scratch memory. f must not throw.
//
// The calling thread takes part, so the work is done even if the pool never runs a task. A task
// that starts after all items are taken touches only the shared state and leaves.
template <class F>
void parallel(ffi::ThreadPool& pool, int64_t items, int64_t workers, const F& f) {
  workers = std::min(items, workers);
  if (workers <= 1) {
    for (int64_t i = 0; i < items; i++) f(i, int64_t{0});
    return;
  }
  struct State {
    std::atomic<int64_t> next{0}, worker{0};
    int64_t done = 0;
    std::mutex mutex;
    std::condition_variable finished;
  };
  auto state = std::make_shared<State>();
  const F* function = &f;
  const auto work = [state, items, function] {
    const int64_t worker = state->worker.fetch_add(1);
    int64_t mine = 0;
    for (int64_t i; (i = state->next.fetch_add(1)) < items; mine++) (*function)(i, worker);
    if (mine == 0) return;
    std::lock_guard<std::mutex> lock(state->mutex);
    state->done += mine;
    if (state->done == items) state->finished.notify_all();
  };
  try {
    for (int64_t i = 1; i < workers; i++) pool.Schedule(std::function<void()>(work));
  } catch (const std::bad_alloc&) {
    // Fewer helpers: this thread takes what they would have taken.
  }
  work();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->finished.wait(lock, [&] { return state->done == items; });
}

inline int64_t threads(const ffi::ThreadPool& pool) {
  return std::max<int64_t>(1, pool.num_threads());
}

// Where part `i` of `parts` equal parts of n begins.
inline int64_t share(int64_t n, int64_t i, int64_t parts) { return n * i / parts; }

// Columns of one panel, and the floats that `depth` packed rows of all columns take.
inline int64_t panel_columns() { return loops()->lanes * loops()->panel_vectors; }
inline int64_t packed_floats(int64_t depth, int64_t columns) {
  return depth * ((columns + loops()->lanes - 1) / loops()->lanes * loops()->lanes);
}

// `count` offsets, `step` apart.
inline std::vector<ptrdiff_t> multiples(int64_t count, ptrdiff_t step) {
  std::vector<ptrdiff_t> all(count);
  for (int64_t i = 0; i < count; i++) all[i] = i * step;
  return all;
}

// Pack a matrix of `rows` x `columns` for `Product::b`: packed_floats(rows, columns) floats.
inline void pack_matrix(const float* matrix, ptrdiff_t row_stride, ptrdiff_t column_stride, int64_t rows,
                        int64_t columns, float* out) {
  for (int64_t column = 0; column < columns; column += panel_columns()) {
    const int64_t width = std::min(columns - column, panel_columns());
    loops()->pack(matrix + column * column_stride, row_stride, column_stride, rows, width, out);
    out += packed_floats(rows, width);
  }
}

// c (+)= a b for rows that begin at given offsets, with b packed by `pack_matrix`; or c = bias + a b, where `bias`
// is one row.
inline void multiply_rows(const float* a, const ptrdiff_t* a_offset, int64_t rows, int64_t depth, const float* b,
                          int64_t columns, float* c, const ptrdiff_t* c_offset, bool accumulate,
                          const float* bias = nullptr) {
  const ptrdiff_t zero = 0;
  Product product;
  product.a = a;
  product.a_offset = a_offset;
  product.rows = rows;
  product.segment = &zero;
  product.segments = 1;
  product.length = depth;
  product.b = b;
  product.columns = columns;
  product.c = c;
  product.c_offset = c_offset;
  product.accumulate = accumulate;
  product.narrow = false;
  product.bias = bias;
  loops()->multiply(product);
}

// c += a^T d, or c = a^T d if `fresh`: rows of a begin at offsets, those of d and c lie at constant distances.
inline void add_outer(const float* a, const ptrdiff_t* a_offset, int64_t rows, int64_t length, const float* d,
                      ptrdiff_t d_stride, int64_t columns, float* c, ptrdiff_t c_stride, float* column_sum,
                      float* scratch, bool fresh = false) {
  const ptrdiff_t zero = 0;
  Outer outer;
  outer.fresh = fresh;
  outer.a = a;
  outer.a_offset = a_offset;
  outer.rows = rows;
  outer.segment = &zero;
  outer.segments = 1;
  outer.length = length;
  outer.d = d;
  outer.d_stride = d_stride;
  outer.columns = columns;
  outer.c = c;
  outer.c_stride = c_stride;
  outer.column_sum = column_sum;
  outer.scratch = scratch;
  loops()->outer(outer);
}

}  // namespace fitloom
