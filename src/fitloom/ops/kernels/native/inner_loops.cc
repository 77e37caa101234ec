// SPDX-License-Identifier: Apache-2.0
// The inner loops, written with the vector types of GCC and Clang and compiled once for each
// instruction set with FITLOOM_SET (its name), FITLOOM_LANES and FITLOOM_REGISTERS given.
#include "inner_loops.h"

namespace fitloom {
namespace {

constexpr int kLanes = FITLOOM_LANES;

typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));
typedef int32_t Mask __attribute__((vector_size(kLanes * sizeof(float))));
// The same at any address.
typedef float Unaligned
    __attribute__((vector_size(kLanes * sizeof(float)), aligned(alignof(float)), may_alias));

#define INLINE inline __attribute__((always_inline))

INLINE Vector load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
INLINE void store(float* p, Vector v) { *reinterpret_cast<Unaligned*>(p) = v; }
INLINE Vector splat(float f) { return f - Vector{}; }

// The first n lanes; the others are zero, or left as they are in memory.
INLINE Vector load_first(const float* p, int64_t n) {
  Vector v = {};
  for (int64_t j = 0; j < n; j++) v[j] = p[j];
  return v;
}
INLINE void store_first(float* p, Vector v, int64_t n) {
  for (int64_t j = 0; j < n; j++) p[j] = v[j];
}

// max(v, 0), where NaN stays NaN; and d where y is positive.
INLINE Vector positive(Vector v) { return v < 0.0f ? Vector{} : v; }
INLINE Vector where_positive(Vector d, Vector y) { return y > 0.0f ? d : Vector{}; }

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t round_up(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// A tile keeps rows * vectors sums in registers, beside one vector of b for each column and one
// broadcast element of a. With 32 registers panels are 4 vectors wide, with 16 they are 2.
constexpr int kPanel = FITLOOM_REGISTERS >= 32 ? 4 : 2;
constexpr int most_rows(int vectors) {
  return FITLOOM_REGISTERS >= 32 ? (vectors == 4 ? 6 : vectors == 3 ? 8 : vectors == 2 ? 12 : 14)
                                 : (vectors == 2 ? 6 : 10);
}

// Write the square of kLanes vectors at `from`, its rows `row` floats apart, with rows and columns exchanged.
INLINE void transpose_square(const float* from, ptrdiff_t row, float* to, ptrdiff_t to_row) {
#if defined(__clang__)
  for (int i = 0; i < kLanes; i++)
    for (int j = 0; j < kLanes; j++) to[j * to_row + i] = from[i * row + j];
#else
  Vector v[kLanes];
  for (int i = 0; i < kLanes; i++) v[i] = load(from + i * row);
  // Exchange the off-diagonal squares of size n inside squares of size 2 n, for every n.
#pragma GCC unroll 8
  for (int n = 1; n < kLanes; n *= 2) {
    Mask upper, lower;
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; j++) {
      upper[j] = j & n ? kLanes + j - n : j;
      lower[j] = j & n ? kLanes + j : j + n;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i++) {
      if (i & n) continue;
      const Vector a = v[i], b = v[i + n];
      v[i] = __builtin_shuffle(a, b, upper);
      v[i + n] = __builtin_shuffle(a, b, lower);
    }
  }
  for (int j = 0; j < kLanes; j++) store(to + j * to_row, v[j]);
#endif
}

void pack(const float* source, ptrdiff_t row_stride, ptrdiff_t column_stride, int64_t rows,
          int64_t columns, float* out) {
  const int64_t width = round_up(columns);
  if (column_stride == 1) {
    for (int64_t k = 0; k < rows; k++) {
      const float* s = source + k * row_stride;
      float* o = out + k * width;
      int64_t j = 0;
      for (; j + kLanes <= columns; j += kLanes) store(o + j, load(s + j));
      if (j < width) store(o + j, load_first(s + j, columns - j));
    }
    return;
  }
  int64_t first = 0;
  if (row_stride == 1)
    for (; first + kLanes <= columns; first += kLanes) {
      int64_t k = 0;
      for (; k + kLanes <= rows; k += kLanes)
        transpose_square(source + first * column_stride + k, column_stride, out + k * width + first, width);
      for (; k < rows; k++)
        for (int64_t j = first; j < first + kLanes; j++) out[k * width + j] = source[k + j * column_stride];
    }
  for (int64_t j = first; j < columns; j++)
    for (int64_t k = 0; k < rows; k++)
      out[k * width + j] = source[k * row_stride + j * column_stride];
  for (int64_t j = columns; j < width; j++)
    for (int64_t k = 0; k < rows; k++) out[k * width + j] = 0;
}

// ---- c = a b ----

// A tile of which the last vector has only `tail` columns is computed in a copy: the tiles themselves know whole
// vectors only, and keep their sums in registers from the first instruction to the last.
template <int ROWS, int VECTORS>
struct Partial {
  static constexpr int kWidth = VECTORS * kLanes;
  float memory[ROWS * kWidth];
  ptrdiff_t offset[ROWS];

  Partial() {
    for (int i = 0; i < ROWS; i++) offset[i] = i * kWidth;
  }
  // `at(i)` is where row i of the real tile begins.
  template <class At>
  void read(int64_t rows, int64_t columns, const At& at) {
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = 0; j < columns; j++) memory[i * kWidth + j] = at(i)[j];
  }
  template <class At>
  void write(int64_t rows, int64_t columns, const At& at) const {
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = 0; j < columns; j++) at(i)[j] = memory[i * kWidth + j];
  }
};

// ROWS rows of one panel of VECTORS vectors; row i of c begins at c + c_offset[i].
// Sums begin with zero, with `bias`, or (accumulate) with what c holds.
struct Begin {
  bool accumulate;
  const float* bias;  // or nullptr
};

template <int ROWS, int VECTORS>
INLINE void product_tile(const Product& t, const ptrdiff_t* a_offset, float* c, const ptrdiff_t* c_offset,
                         const float* b, Begin begin) {
  Vector sum[ROWS][VECTORS];
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECTORS; j++) sum[i][j] = Vector{};
  if (begin.accumulate) {
    for (int i = 0; i < ROWS; i++)
      for (int j = 0; j < VECTORS; j++) sum[i][j] = load(c + c_offset[i] + j * kLanes);
  } else if (begin.bias) {
    for (int j = 0; j < VECTORS; j++) {
      const Vector first = load(begin.bias + j * kLanes);
      for (int i = 0; i < ROWS; i++) sum[i][j] = first;
    }
  }
  const auto step = [&](const float* const* a, int64_t k) __attribute__((always_inline)) {
    Vector bk[VECTORS];
    for (int j = 0; j < VECTORS; j++) bk[j] = load(b + j * kLanes);
    b += VECTORS * kLanes;
    for (int i = 0; i < ROWS; i++) {
      const Vector ak = splat(a[i][k]);
      for (int j = 0; j < VECTORS; j++) sum[i][j] += ak * bk[j];
    }
  };
  const float* row[ROWS];
  for (int i = 0; i < ROWS; i++) row[i] = t.a + a_offset[i];
  if (t.length == 1) {
    for (int64_t s = 0; s < t.segments; s++) step(row, t.segment[s]);
  } else {
    for (int64_t s = 0; s < t.segments; s++) {
      const float* a[ROWS];
      for (int i = 0; i < ROWS; i++) a[i] = row[i] + t.segment[s];
      for (int64_t k = 0; k < t.length; k++) step(a, k);
    }
  }
  if (t.relu)
    for (int i = 0; i < ROWS; i++)
      for (int j = 0; j < VECTORS; j++) sum[i][j] = positive(sum[i][j]);
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECTORS; j++) store(c + c_offset[i] + j * kLanes, sum[i][j]);
}

template <int ROWS, int VECTORS>
void product_rows(int64_t rows, const Product& t, const ptrdiff_t* a_offset, float* c, const ptrdiff_t* c_offset,
                  const float* b, Begin begin) {
  if (rows == ROWS) {
    product_tile<ROWS, VECTORS>(t, a_offset, c, c_offset, b, begin);
  } else if constexpr (ROWS > 1) {
    product_rows<ROWS - 1, VECTORS>(rows, t, a_offset, c, c_offset, b, begin);
  }
}

// Calls body(first, n) for tiles of at most `most` of `length` rows, split evenly: a last tile of one row would wait
// for its own sums.
template <class Body>
INLINE void each_tile(int64_t length, int64_t most, const Body& body) {
  const int64_t tiles = (length + most - 1) / most;
  int64_t k = 0;
  for (int64_t tile = 0; tile < tiles; tile++) {
    const int64_t n = length / tiles + (tile < length % tiles);
    body(k, n);
    k += n;
  }
}

template <int VECTORS>
void product_panel(const Product& t, const float* b, int64_t column, int64_t columns) {
  constexpr int most = most_rows(VECTORS);
  float* c = t.c + column;
  const Begin begin = {t.accumulate, t.bias ? t.bias + column : nullptr};
  if (columns == VECTORS * kLanes) {
    each_tile(t.rows, most, [&](int64_t m, int64_t rows) {
      product_rows<most, VECTORS>(rows, t, t.a_offset + m, c, t.c_offset + m, b, begin);
    });
    return;
  }
  Partial<most, VECTORS> copy;
  const bool fill = t.accumulate || t.bias;
  each_tile(t.rows, most, [&](int64_t m, int64_t rows) {
    const auto at = [&](int64_t i) { return c + t.c_offset[m + i]; };
    if (t.accumulate) {
      copy.read(rows, columns, at);
    } else if (fill) {
      copy.read(rows, columns, [&](int64_t) { return begin.bias; });
    }
    product_rows<most, VECTORS>(rows, t, t.a_offset + m, copy.memory, copy.offset, b, Begin{fill, nullptr});
    copy.write(rows, columns, at);
  });
}

// Sums of all lanes, and of a product with few columns: see `Product::narrow`.
INLINE float total(Vector v) {
  float sum[kLanes];
  store(sum, v);
  for (int n = kLanes / 2; n > 0; n /= 2)
    for (int j = 0; j < n; j++) sum[j] += sum[j + n];
  return sum[0];
}

template <int ROWS, int COLUMNS>
INLINE void narrow_tile(const Product& t, int64_t m) {
  Vector sum[ROWS][COLUMNS];
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < COLUMNS; j++) sum[i][j] = Vector{};
  const float* b = t.b;
  for (int64_t s = 0; s < t.segments; s++, b += COLUMNS * t.length) {
    const float* a[ROWS];
    for (int i = 0; i < ROWS; i++) a[i] = t.a + t.a_offset[m + i] + t.segment[s];
    for (int64_t k = 0; k < t.length; k += kLanes) {
      Vector bk[COLUMNS];
      for (int j = 0; j < COLUMNS; j++) bk[j] = load(b + j * t.length + k);
      for (int i = 0; i < ROWS; i++) {
        const Vector ak = load(a[i] + k);
        for (int j = 0; j < COLUMNS; j++) sum[i][j] += ak * bk[j];
      }
    }
  }
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < COLUMNS; j++) {
      float* c = t.c + t.c_offset[m + i] + j;
      const float v = total(sum[i][j]) + (t.accumulate ? *c : t.bias ? t.bias[j] : 0.0f);
      *c = t.relu && v < 0 ? 0.0f : v;
    }
}

template <int COLUMNS>
void narrow(const Product& t) {
  constexpr int most = FITLOOM_REGISTERS >= 32 ? 5 : 2;
  int64_t m = 0;
  for (; m + most <= t.rows; m += most) narrow_tile<most, COLUMNS>(t, m);
  for (; m < t.rows; m++) narrow_tile<1, COLUMNS>(t, m);
}

void multiply(const Product& t) {
  if (t.narrow) {
    switch (t.columns) {
      case 1: return narrow<1>(t);
      case 2: return narrow<2>(t);
      case 3: return narrow<3>(t);
      case 4: return narrow<4>(t);
    }
    return;
  }
  const float* b = t.b;
  for (int64_t column = 0; column < t.columns; column += kPanel * kLanes) {
    const int64_t columns = least(t.columns - column, kPanel * kLanes);
    const int64_t vectors = (columns + kLanes - 1) / kLanes;
    switch (vectors) {
      case 1: product_panel<1>(t, b, column, columns); break;
      case 2: product_panel<2>(t, b, column, columns); break;
#if FITLOOM_REGISTERS >= 32
      case 3: product_panel<3>(t, b, column, columns); break;
      case 4: product_panel<4>(t, b, column, columns); break;
#endif
    }
    b += t.segments * t.length * vectors * kLanes;
  }
}

// ---- c += a^T d ----

// A panel of d, packed row by row by `pack`, or by the first tile that meets it while `source` is given.
struct Panel {
  float* packed;
  const float* source;  // or nullptr
  ptrdiff_t stride;
  bool fresh;  // c begins with zeros, whatever it holds
};

// Row p of a begins at a_offset[p], or at p * ROWS if there are no offsets.
template <int ROWS, int VECTORS, bool PACKING>
INLINE void outer_tile(int64_t rows, const float* a, const ptrdiff_t* a_offset, const Panel& panel, float* c,
                       ptrdiff_t c_stride) {
  Vector sum[ROWS][VECTORS];
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECTORS; j++) sum[i][j] = panel.fresh ? Vector{} : load(c + i * c_stride + j * kLanes);
  float* d = panel.packed;
  const float* source = panel.source;
  const ptrdiff_t stride = panel.stride;
  const auto add = [&](const float* ap) __attribute__((always_inline)) {
    Vector dp[VECTORS];
    for (int j = 0; j < VECTORS; j++) dp[j] = load((PACKING ? source : d) + j * kLanes);
    if (PACKING) {
      for (int j = 0; j < VECTORS; j++) store(d + j * kLanes, dp[j]);
      source += stride;
    }
    d += VECTORS * kLanes;
    for (int i = 0; i < ROWS; i++) {
      const Vector api = splat(ap[i]);
      for (int j = 0; j < VECTORS; j++) sum[i][j] += api * dp[j];
    }
  };
  if (a_offset) {
    for (int64_t p = 0; p < rows; p++) add(a + a_offset[p]);
  } else {
    for (int64_t p = 0; p < rows; p++, a += ROWS) add(a);
  }
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECTORS; j++) store(c + i * c_stride + j * kLanes, sum[i][j]);
}

template <int ROWS, int VECTORS, bool PACKING>
void outer_rows(int64_t n, int64_t rows, const float* a, const ptrdiff_t* a_offset, const Panel& panel, float* c,
                ptrdiff_t c_stride) {
  if (n == ROWS) {
    outer_tile<ROWS, VECTORS, PACKING>(rows, a, a_offset, panel, c, c_stride);
  } else if constexpr (ROWS > 1) {
    outer_rows<ROWS - 1, VECTORS, PACKING>(n, rows, a, a_offset, panel, c, c_stride);
  }
}

// Without offsets a is what `tiles_of` wrote.
template <int VECTORS>
void outer_panel(int64_t columns, int64_t length, int64_t rows, const float* a, const ptrdiff_t* a_offset,
                 Panel panel, float* c, ptrdiff_t c_stride) {
  constexpr int most = most_rows(VECTORS);
  const auto from = [&](int64_t k) { return a + (a_offset ? k : k * rows); };
  if (columns == VECTORS * kLanes) {
    each_tile(length, most, [&](int64_t k, int64_t n) {
      if (VECTORS == kPanel && panel.source) {
        outer_rows<most, VECTORS, true>(n, rows, from(k), a_offset, panel, c + k * c_stride, c_stride);
        panel.source = nullptr;
      } else {
        outer_rows<most, VECTORS, false>(n, rows, from(k), a_offset, panel, c + k * c_stride, c_stride);
      }
    });
    return;
  }
  Partial<most, VECTORS> copy;
  each_tile(length, most, [&](int64_t k, int64_t n) {
    const auto at = [&](int64_t i) { return c + (k + i) * c_stride; };
    if (!panel.fresh) copy.read(n, columns, at);
    outer_rows<most, VECTORS, false>(n, rows, from(k), a_offset, panel, copy.memory, copy.kWidth);
    copy.write(n, columns, at);
  });
}

// Elements of a row of a that are copied tile by tile, because rows of a matrix lie so far apart that those of one
// tile drive each other out of the first-level cache.
constexpr int64_t kTiled = 80 * most_rows(kPanel);

// Writes the tiles of full panels, each with its rows one after another; `readable` elements of each row may be read.
void tiles_of(int64_t length, int64_t readable, int64_t rows, const float* a, const ptrdiff_t* a_offset, float* out) {
  each_tile(length, most_rows(kPanel), [&](int64_t k, int64_t n) {
    if (k + round_up(n) <= readable) {
      // Whole vectors: what one writes too much is overwritten by the next.
      for (int64_t p = 0; p < rows; p++, out += n)
        for (int64_t j = 0; j < n; j += kLanes) store(out + j, load(a + a_offset[p] + k + j));
    } else {
      for (int64_t p = 0; p < rows; p++, out += n)
        for (int64_t j = 0; j < n; j++) out[j] = a[a_offset[p] + k + j];
    }
  });
}

// As `pack` of d's rows, with zeros where y is not positive.
void pack_where_positive(const float* d, const float* y, ptrdiff_t row_stride, int64_t rows, int64_t columns,
                         float* out) {
  const int64_t width = round_up(columns);
  for (int64_t k = 0; k < rows; k++, d += row_stride, y += row_stride, out += width) {
    int64_t j = 0;
    for (; j + kLanes <= columns; j += kLanes) store(out + j, where_positive(load(d + j), load(y + j)));
    if (j < width)
      store(out + j, where_positive(load_first(d + j, columns - j), load_first(y + j, columns - j)));
  }
}

// Segments shorter than this are gathered into rows of their own, to fill the tiles.
constexpr int64_t kShort = 8;

bool gathered(int64_t segments, int64_t length) { return segments > 1 && length < kShort; }

int64_t outer_scratch(int64_t segments, int64_t length) {
  const int64_t panel = kOuterBlock * kPanel * kLanes;
  if (gathered(segments, length)) return panel + kOuterBlock * segments * length;
  return panel + (segments == 1 ? kOuterBlock * least(length, kTiled) + 2 * kLanes : 0);
}

// The same for so few columns that they would leave most lanes empty: vectors run along the
// segment, and c is updated transposed.
INLINE float narrow_signal(const Outer& t, int64_t i) { return !t.y || t.y[i] > 0 ? t.d[i] : 0.0f; }

template <int VECTORS, int COLUMNS>
INLINE void outer_narrow_tile(const Outer& t, const float* a, float* c) {
  Vector sum[VECTORS][COLUMNS];
  for (int i = 0; i < VECTORS; i++)
    for (int j = 0; j < COLUMNS; j++) sum[i][j] = Vector{};
  const float *d = t.d, *y = t.y;
  for (int64_t p = 0; p < t.rows; p++, d += t.d_stride) {
    const float* ap = a + t.a_offset[p];
    Vector dp[COLUMNS];
    for (int j = 0; j < COLUMNS; j++) dp[j] = splat(!y || y[j] > 0 ? d[j] : 0.0f);
    if (y) y += t.d_stride;
    for (int i = 0; i < VECTORS; i++) {
      const Vector api = load(ap + i * kLanes);
      for (int j = 0; j < COLUMNS; j++) sum[i][j] += api * dp[j];
    }
  }
  for (int i = 0; i < VECTORS; i++)
    for (int k = 0; k < kLanes; k++)
      for (int j = 0; j < COLUMNS; j++) c[(i * kLanes + k) * t.c_stride + j] += sum[i][j][k];
}

template <int COLUMNS>
void outer_narrow(const Outer& t) {
  constexpr int most = FITLOOM_REGISTERS >= 32 ? 5 : 2;
  for (int64_t s = 0; s < t.segments; s++) {
    int64_t k = 0;
    const auto from = [&] { return t.a + t.segment[s] + k; };
    const auto to = [&] { return t.c + (s * t.length + k) * t.c_stride; };
    for (; k + most * kLanes <= t.length; k += most * kLanes)
      outer_narrow_tile<most, COLUMNS>(t, from(), to());
    for (; k + kLanes <= t.length; k += kLanes) outer_narrow_tile<1, COLUMNS>(t, from(), to());
    for (; k < t.length; k++)
      for (int64_t p = 0; p < t.rows; p++)
        for (int j = 0; j < COLUMNS; j++)
          to()[j] += from()[t.a_offset[p]] * narrow_signal(t, p * t.d_stride + j);
  }
  if (t.column_sum)
    for (int64_t p = 0; p < t.rows; p++)
      for (int j = 0; j < COLUMNS; j++) t.column_sum[j] += narrow_signal(t, p * t.d_stride + j);
}

// The whole product has so few rows that they fit into one tile: no number of a is read twice, so nothing is
// gathered, and what is read of d goes into the registers at once.
template <int VECTORS, int ROWS>
INLINE void outer_few_tile(const Outer& t, const ptrdiff_t* element, int64_t column, int64_t tail) {
  Vector sum[ROWS][VECTORS], column_sum[VECTORS];
  const auto part = [&](int j) __attribute__((always_inline)) { return j == VECTORS - 1 && tail < kLanes; };
  const auto get = [&](const float* p, int j) __attribute__((always_inline)) {
    return part(j) ? load_first(p + j * kLanes, tail) : load(p + j * kLanes);
  };
  const auto put = [&](float* p, int j, Vector v) __attribute__((always_inline)) {
    if (part(j)) {
      store_first(p + j * kLanes, v, tail);
    } else {
      store(p + j * kLanes, v);
    }
  };
  for (int j = 0; j < VECTORS; j++) column_sum[j] = Vector{};
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECTORS; j++) sum[i][j] = get(t.c + i * t.c_stride + column, j);
  for (int64_t p = 0; p < t.rows; p++) {
    const float* a = t.a + t.a_offset[p];
    Vector d[VECTORS];
    for (int j = 0; j < VECTORS; j++) {
      d[j] = get(t.d + p * t.d_stride + column, j);
      if (t.y) d[j] = where_positive(d[j], get(t.y + p * t.d_stride + column, j));
      column_sum[j] += d[j];
    }
    for (int i = 0; i < ROWS; i++) {
      const Vector ai = splat(a[element[i]]);
      for (int j = 0; j < VECTORS; j++) sum[i][j] += ai * d[j];
    }
  }
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECTORS; j++) put(t.c + i * t.c_stride + column, j, sum[i][j]);
  if (t.column_sum)
    for (int j = 0; j < VECTORS; j++)
      put(t.column_sum + column, j, get(t.column_sum + column, j) + column_sum[j]);
}

template <int VECTORS, int ROWS>
void outer_few_rows(int64_t rows, const Outer& t, const ptrdiff_t* element, int64_t column, int64_t tail) {
  if (rows == ROWS) {
    outer_few_tile<VECTORS, ROWS>(t, element, column, tail);
  } else if constexpr (ROWS > 1) {
    outer_few_rows<VECTORS, ROWS - 1>(rows, t, element, column, tail);
  }
}

constexpr int kFewVectors = FITLOOM_REGISTERS >= 32 ? 2 : 1;
constexpr int kFewRows = FITLOOM_REGISTERS >= 32 ? 12 : 10;

void outer_few(const Outer& t) {
  ptrdiff_t element[kFewRows];
  for (int64_t s = 0; s < t.segments; s++)
    for (int64_t k = 0; k < t.length; k++) element[s * t.length + k] = t.segment[s] + k;
  const int64_t depth = t.segments * t.length;
  int64_t column = 0;
  for (; column + kFewVectors * kLanes <= t.columns; column += kFewVectors * kLanes)
    outer_few_rows<kFewVectors, kFewRows>(depth, t, element, column, kLanes);
  for (; column < t.columns; column += kLanes)
    outer_few_rows<1, kFewRows>(depth, t, element, column, least(kLanes, t.columns - column));
}

// The same for one panel of d; `tiles`, if given, holds a again for full panels. Packs the panel.
void outer_columns(int64_t columns, int64_t length, int64_t rows, const float* a, const ptrdiff_t* a_offset,
                   const float* tiles, Panel& panel, float* c, ptrdiff_t c_stride) {
  const int64_t vectors = (columns + kLanes - 1) / kLanes;
  if (panel.source && (columns < kPanel * kLanes || length == 0)) {
    pack(panel.source, panel.stride, 1, rows, columns, panel.packed);
    panel.source = nullptr;
  }
  if (tiles && vectors == kPanel) a = tiles, a_offset = nullptr;
  switch (vectors) {
    case 1: outer_panel<1>(columns, length, rows, a, a_offset, panel, c, c_stride); break;
    case 2: outer_panel<2>(columns, length, rows, a, a_offset, panel, c, c_stride); break;
#if FITLOOM_REGISTERS >= 32
    case 3: outer_panel<3>(columns, length, rows, a, a_offset, panel, c, c_stride); break;
    case 4: outer_panel<4>(columns, length, rows, a, a_offset, panel, c, c_stride); break;
#endif
  }
  panel.source = nullptr;
}

// column_sum[j] += the sum of the packed rows' column j.
void add_columns(int64_t rows, int64_t columns, const float* packed, float* column_sum) {
  const int64_t width = round_up(columns);
  Vector sum[kPanel] = {};  // side by side, because an addition takes as long as four of them can begin
  if (width == kPanel * kLanes) {
    for (int64_t p = 0; p < rows; p++)
      for (int j = 0; j < kPanel; j++) sum[j] += load(packed + p * width + j * kLanes);
  } else {
    for (int64_t p = 0; p < rows; p++)
      for (int64_t j = 0; j < width / kLanes; j++) sum[j] += load(packed + p * width + j * kLanes);
  }
  for (int64_t j = 0; j < columns; j++) column_sum[j] += sum[j / kLanes][j % kLanes];
}

// So many panels of one segment meet the rows of a that a copy of them in order pays.
constexpr int64_t kManyPanels = 4;

void outer_tiled(const Outer& t) {
  float* packed = t.scratch;
  float* tiles = t.scratch + kOuterBlock * kPanel * kLanes;
  for (int64_t first = 0; first < t.rows; first += kOuterBlock) {
    const int64_t rows = least(t.rows - first, kOuterBlock);
    for (int64_t k = 0; k < t.length; k += kTiled) {
      const int64_t length = least(t.length - k, kTiled);
      const float* a = t.a + t.segment[0] + k;
      tiles_of(length, t.length - k, rows, a, t.a_offset + first, tiles);
      for (int64_t column = 0; column < t.columns; column += kPanel * kLanes) {
        const int64_t columns = least(t.columns - column, kPanel * kLanes);
        Panel panel = {packed, t.d + first * t.d_stride + column, t.d_stride, t.fresh && first == 0};
        outer_columns(columns, length, rows, a, t.a_offset + first, tiles, panel, t.c + k * t.c_stride + column,
                      t.c_stride);
        if (t.column_sum && k == 0) add_columns(rows, columns, packed, t.column_sum + column);
      }
    }
  }
}

void outer(const Outer& t) {
  const bool small = (t.columns <= kNarrow && t.length >= kLanes) ||
                     (gathered(t.segments, t.length) && t.segments * t.length <= kFewRows);
  if (t.fresh && (small || t.rows == 0))
    for (int64_t k = 0; k < t.segments * t.length; k++)
      for (int64_t j = 0; j < t.columns; j++) t.c[k * t.c_stride + j] = 0;
  if (t.columns <= kNarrow && t.length >= kLanes) {
    switch (t.columns) {
      case 1: return outer_narrow<1>(t);
      case 2: return outer_narrow<2>(t);
      case 3: return outer_narrow<3>(t);
      case 4: return outer_narrow<4>(t);
    }
  }
  if (gathered(t.segments, t.length) && t.segments * t.length <= kFewRows) return outer_few(t);
  float* packed = t.scratch;
  float* rows_of_a = t.scratch + kOuterBlock * kPanel * kLanes;
  const int64_t depth = t.segments * t.length;
  const bool gather = gathered(t.segments, t.length);
  if (t.segments == 1 && !t.y && t.columns >= kManyPanels * kPanel * kLanes) return outer_tiled(t);
  ptrdiff_t dense_offset[kOuterBlock];
  for (int64_t p = 0; p < kOuterBlock; p++) dense_offset[p] = p * depth;
  for (int64_t first = 0; first < t.rows; first += kOuterBlock) {
    const int64_t rows = least(t.rows - first, kOuterBlock);
    if (gather) {
      float* o = rows_of_a;
      for (int64_t p = 0; p < rows; p++) {
        const float* a = t.a + t.a_offset[first + p];
        for (int64_t s = 0; s < t.segments; s++)
          for (int64_t k = 0; k < t.length; k++) *o++ = a[t.segment[s] + k];
      }
    }
    for (int64_t column = 0; column < t.columns; column += kPanel * kLanes) {
      const int64_t columns = least(t.columns - column, kPanel * kLanes);
      Panel panel = {packed, t.d + first * t.d_stride + column, t.d_stride, t.fresh && first == 0};
      if (t.y) {
        pack_where_positive(panel.source, t.y + first * t.d_stride + column, t.d_stride, rows, columns, packed);
        panel.source = nullptr;
      }
      if (gather) {
        outer_columns(columns, depth, rows, rows_of_a, dense_offset, nullptr, panel, t.c + column, t.c_stride);
      } else {
        for (int64_t s = 0; s < t.segments; s++)
          outer_columns(columns, t.length, rows, t.a + t.segment[s], t.a_offset + first, nullptr, panel,
                        t.c + s * t.length * t.c_stride + column, t.c_stride);
      }
      if (t.column_sum) add_columns(rows, columns, packed, t.column_sum + column);
    }
  }
}

// ---- depthwise ----

// N vectors of channels at once, so that their sums do not wait for one another.
template <int N>
INLINE void depthwise_vectors(const Depthwise& t, int64_t m, int64_t j) {
  Vector sum[N];
  for (int n = 0; n < N; n++) sum[n] = Vector{};
  const float* x = t.x + t.x_offset[m] + j;
  const float* w = t.w + j;
  for (int64_t s = 0; s < t.segments; s++, w += t.channels)
    for (int n = 0; n < N; n++)
      sum[n] += load(x + t.segment[s] + n * kLanes) * load(w + n * kLanes);
  float* y = t.y + t.y_offset[m] + j;
  for (int n = 0; n < N; n++) store(y + n * kLanes, sum[n]);
}

void depthwise(const Depthwise& t) {
  for (int64_t m = 0; m < t.rows; m++) {
    int64_t j = 0;
    for (; j + 4 * kLanes <= t.channels; j += 4 * kLanes) depthwise_vectors<4>(t, m, j);
    for (; j + kLanes <= t.channels; j += kLanes) depthwise_vectors<1>(t, m, j);
    for (; j < t.channels; j++) {
      float sum = 0;
      for (int64_t s = 0; s < t.segments; s++)
        sum += t.x[t.x_offset[m] + t.segment[s] + j] * t.w[s * t.channels + j];
      t.y[t.y_offset[m] + j] = sum;
    }
  }
}

// TAPS segments at once share each load of dy.
template <int TAPS>
INLINE void depthwise_taps(const DepthwiseOuter& t, int64_t first, int64_t j) {
  Vector sum[TAPS];
  for (int s = 0; s < TAPS; s++) sum[s] = load(t.dw + (first + s) * t.channels + j);
  const float* dy = t.dy + j;
  for (int64_t m = 0; m < t.rows; m++, dy += t.channels) {
    const Vector d = load(dy);
    const float* x = t.x + t.x_offset[m] + j;
    for (int s = 0; s < TAPS; s++) sum[s] += load(x + t.segment[first + s]) * d;
  }
  for (int s = 0; s < TAPS; s++) store(t.dw + (first + s) * t.channels + j, sum[s]);
}

void depthwise_outer(const DepthwiseOuter& t) {
  int64_t j = 0;
  for (; j + kLanes <= t.channels; j += kLanes) {
    int64_t s = 0;
    for (; s + 9 <= t.segments; s += 9) depthwise_taps<9>(t, s, j);
    for (; s + 3 <= t.segments; s += 3) depthwise_taps<3>(t, s, j);
    for (; s < t.segments; s++) depthwise_taps<1>(t, s, j);
  }
  for (; j < t.channels; j++)
    for (int64_t s = 0; s < t.segments; s++) {
      float sum = 0;
      for (int64_t m = 0; m < t.rows; m++)
        sum += t.x[t.x_offset[m] + t.segment[s] + j] * t.dy[m * t.channels + j];
      t.dw[s * t.channels + j] += sum;
    }
}

// ---- pooling ----

typedef uint8_t Bytes __attribute__((vector_size(kLanes)));
typedef uint8_t UnalignedBytes __attribute__((vector_size(kLanes), aligned(1), may_alias));

void max_pool(const PoolingRun& t, const float* x, float* y, uint8_t* winner) {
  for (int64_t o = 0; o < t.outputs; o++, x += t.step, y += t.channels, winner += t.channels) {
    int64_t j = 0;
    for (; j + kLanes <= t.channels; j += kLanes) {
      Vector most = load(x + t.place[0] + j);
      Mask number = (Mask{} + 1) * t.number[0];
      for (int64_t p = 1; p < t.places; p++) {
        const Vector v = load(x + t.place[p] + j);
        const Mask better = (v > most) | (v != v);
        most = better ? v : most;
        number = better ? (Mask{} + 1) * t.number[p] : number;
      }
      store(y + j, most);
      *reinterpret_cast<UnalignedBytes*>(winner + j) = __builtin_convertvector(number, Bytes);
    }
    for (; j < t.channels; j++) {
      float most = x[t.place[0] + j];
      uint8_t number = t.number[0];
      for (int64_t p = 1; p < t.places; p++) {
        const float v = x[t.place[p] + j];
        if (v > most || v != v) {
          most = v;
          number = t.number[p];
        }
      }
      y[j] = most;
      winner[j] = number;
    }
  }
}

template <bool ADD>
void spread_maximum(const PoolingRun& t, const float* dy, const uint8_t* winner, float* dx) {
  for (int64_t o = 0; o < t.outputs; o++, dx += t.step, dy += t.channels, winner += t.channels) {
    int64_t j = 0;
    for (; j + kLanes <= t.channels; j += kLanes) {
      const Vector d = load(dy + j);
      const Mask place = __builtin_convertvector(*reinterpret_cast<const UnalignedBytes*>(winner + j), Mask);
      for (int64_t p = 0; p < t.places; p++) {
        float* to = dx + t.place[p] + j;
        const Vector here = place == (Mask{} + 1) * t.number[p] ? d : Vector{};
        store(to, ADD ? load(to) + here : here);
      }
    }
    for (; j < t.channels; j++)
      for (int64_t p = 0; p < t.places; p++) {
        float* to = dx + t.place[p] + j;
        const float here = winner[j] == t.number[p] ? dy[j] : 0.0f;
        *to = ADD ? *to + here : here;
      }
  }
}

void max_pool_gradient(const PoolingRun& t, const float* dy, const uint8_t* winner, bool add, float* dx) {
  if (add) {
    spread_maximum<true>(t, dy, winner, dx);
  } else {
    spread_maximum<false>(t, dy, winner, dx);
  }
}

// ---- exponentials ----

INLINE Vector bits(Mask m) { return (Vector)m; }

// e^x for x <= 0: x = n ln 2 + r with |r| <= ln 2 / 2, e^r by an own fit of degree 6 (relative error 4e-9), and n
// added to the exponent. Results that would be denormal are 0. NaN stays NaN.
INLINE Vector exp_negative(Vector x) {
  const Vector round = splat(12582912.0f);  // 1.5 * 2^23: adding it leaves n in the lowest bits
  const Vector shifted = x * 1.4426950408889634f + round, n = shifted - round;
  const Vector r = (x - n * 0.693145751953125f) - n * 1.428606765e-06f;
  Vector p = r * 0.0013812994584441185f + 0.008369390852749348f;
  p = p * r + 0.04166845604777336f;
  p = p * r + 0.16666515171527863f;
  p = p * r + 0.4999999403953552f;
  p = p * (r * r) + r + 1.0f;
  const Vector power = bits((Mask)p + ((Mask)shifted << 23));
  const Vector finite = x < splat(-87.0f) ? Vector{} : power;
  return x != x ? x : finite;
}

// ---- recurrent cells ----

// tanh as x P(x^2) / Q(x^2): an own fit of degrees 4 and 4 on [-9, 9], beyond which tanh is 1 in
// float32 (weighted least squares towards the smallest relative error, which is 2e-8; in float32
// arithmetic the result is within 6 units in the last place). NaN stays NaN.
INLINE Vector tanh(Vector x) {
  const Vector limit = splat(9.0f), one = splat(1.0f);
  x = x > limit ? limit : x;
  x = x < -limit ? -limit : x;
  const Vector y = x * x;
  Vector p = y * 1.3354928718456449e-08f + 2.060931183223147e-05f;
  p = p * y + 0.0034956035669893026f;
  p = p * y + 0.1338103860616684f;
  p = p * y + 1.0f;
  Vector q = y * 7.776678785376134e-07f + 0.0003285659186076373f;
  q = q * y + 0.02587704360485077f;
  q = q * y + 0.46714353561401367f;
  q = q * y + 1.0f;
  const Vector r = x * p / q;
  // Rounding may lead one step beyond 1, where 1 - tanh^2 would be negative.
  return r > one ? one : (r < -one ? -one : r);
}
INLINE Vector sigmoid(Vector x) { return tanh(x * 0.5f) * 0.5f + 0.5f; }

// How vectors are read and written: whole ones, and the rest of a row that does not fill one.
struct Whole {
  INLINE Vector load(const float* p) const { return fitloom::load(p); }
  INLINE void store(float* p, Vector v) const { fitloom::store(p, v); }
  INLINE Vector only(Vector v) const { return v; }
};
struct Rest {
  int64_t n;
  INLINE Vector load(const float* p) const { return load_first(p, n); }
  INLINE void store(float* p, Vector v) const { store_first(p, v, n); }
  // The lanes that count; the others become zero.
  INLINE Vector only(Vector v) const {
    for (int64_t j = n; j < kLanes; j++) v[j] = 0;
    return v;
  }
};

// Calls body(access, u) for the vector that begins at each u.
template <class Body>
INLINE void each_vector(int64_t count, const Body& body) {
  int64_t u = 0;
  for (; u + kLanes <= count; u += kLanes) body(Whole{}, u);
  if (u < count) body(Rest{count - u}, u);
}
#define EACH_VECTOR(count) each_vector(count, [&](const auto access, const int64_t u) __attribute__((always_inline))

void lstm_forward(int64_t units, float* gates, const float* c_before, float* c_after,
                  float* h_after) {
  float *pi = gates, *pf = gates + units, *pg = gates + 2 * units, *po = gates + 3 * units;
  EACH_VECTOR(units) {
    const Vector i = sigmoid(access.load(pi + u)), f = sigmoid(access.load(pf + u));
    const Vector g = tanh(access.load(pg + u)), o = sigmoid(access.load(po + u));
    const Vector c = f * access.load(c_before + u) + i * g;
    access.store(pi + u, i);
    access.store(pf + u, f);
    access.store(pg + u, g);
    access.store(po + u, o);
    access.store(c_after + u, c);
    access.store(h_after + u, o * tanh(c));
  });
}

void lstm_backward(int64_t units, const float* gates, const float* c_before, const float* c_after,
                   const float* dh, float* dc, float* da) {
  EACH_VECTOR(units) {
    const Vector i = access.load(gates + u), f = access.load(gates + units + u);
    const Vector g = access.load(gates + 2 * units + u), o = access.load(gates + 3 * units + u);
    const Vector t = tanh(access.load(c_after + u)), h = access.load(dh + u);
    const Vector c = access.load(dc + u) + h * o * (1.0f - t * t);
    access.store(da + u, c * g * (i - i * i));
    access.store(da + units + u, c * access.load(c_before + u) * (f - f * f));
    access.store(da + 2 * units + u, c * i * (1.0f - g * g));
    access.store(da + 3 * units + u, h * t * (o - o * o));
    access.store(dc + u, c * f);
  });
}

void gru_forward(int64_t units, const float* projected, const float* recurrent,
                 const float* h_before, float* gates, float* h_after) {
  EACH_VECTOR(units) {
    const Vector z = sigmoid(access.load(projected + u) + access.load(recurrent + u));
    const Vector r = sigmoid(access.load(projected + units + u) + access.load(recurrent + units + u));
    const Vector inside = access.load(recurrent + 2 * units + u);
    const Vector g = tanh(access.load(projected + 2 * units + u) + r * inside);
    access.store(gates + u, z);
    access.store(gates + units + u, r);
    access.store(gates + 2 * units + u, g);
    access.store(gates + 3 * units + u, inside);
    access.store(h_after + u, g + z * (access.load(h_before + u) - g));
  });
}

void gru_backward(int64_t units, const float* gates, const float* h_before, float* dh, float* da,
                  float* da_recurrent) {
  EACH_VECTOR(units) {
    const Vector z = access.load(gates + u), r = access.load(gates + units + u);
    const Vector g = access.load(gates + 2 * units + u), inside = access.load(gates + 3 * units + u);
    const Vector d = access.load(dh + u);
    const Vector dz = d * (access.load(h_before + u) - g) * (z - z * z);
    const Vector dg = d * (1.0f - z) * (1.0f - g * g);
    const Vector dr = dg * inside * (r - r * r);
    access.store(da + u, dz);
    access.store(da + units + u, dr);
    access.store(da + 2 * units + u, dg);
    access.store(da_recurrent + u, dz);
    access.store(da_recurrent + units + u, dr);
    access.store(da_recurrent + 2 * units + u, dg * r);
    access.store(dh + u, d * z);
  });
}

void add(int64_t count, const float* source, float* sum) {
  EACH_VECTOR(count) { access.store(sum + u, access.load(sum + u) + access.load(source + u)); });
}

void where_positive(int64_t count, const float* d, const float* y, float* out) {
  EACH_VECTOR(count) { access.store(out + u, where_positive(access.load(d + u), access.load(y + u))); });
}

// ---- sums over channels-last data ----

// PRODUCTS: of a's deviations and b, and of b; else of the deviations squared, and of them.
template <bool PRODUCTS, class Access>
INLINE void channel_sums(const Access& access, int64_t rows, int64_t channels, const float* a,
                         const float* center, const float* b, float* first, float* second) {
  // Several sums of each kind, because an addition takes as long as four of them can begin.
  constexpr int kSums = 4;
  const Vector middle = access.load(center);
  Vector one[kSums], two[kSums];
  for (int i = 0; i < kSums; i++) one[i] = two[i] = Vector{};
  const auto take = [&](int i, int64_t row) __attribute__((always_inline)) {
    const Vector deviation = access.load(a + row * channels) - middle;
    const Vector other = PRODUCTS ? access.load(b + row * channels) : deviation;
    one[i] += other;
    two[i] += deviation * other;
  };
  int64_t row = 0;
  for (; row + kSums <= rows; row += kSums)
    for (int i = 0; i < kSums; i++) take(i, row + i);
  for (; row < rows; row++) take(0, row);
  access.store(first, (one[0] + one[1]) + (one[2] + one[3]));
  access.store(second, (two[0] + two[1]) + (two[2] + two[3]));
}

void channel_moments(int64_t rows, int64_t channels, const float* a, const float* center, float* first,
                     float* second) {
  EACH_VECTOR(channels) {
    channel_sums<false>(access, rows, channels, a + u, center + u, nullptr, first + u, second + u);
  });
}

void channel_products(int64_t rows, int64_t channels, const float* a, const float* center, const float* b,
                      float* first, float* second) {
  EACH_VECTOR(channels) {
    channel_sums<true>(access, rows, channels, a + u, center + u, b + u, first + u, second + u);
  });
}

void column_sum(int64_t rows, int64_t channels, const float* a, float* sum) {
  constexpr int kTogether = 4;  // vectors side by side: whole cache lines, and sums that do not wait for each other
  int64_t u = 0;
  for (; u + kTogether * kLanes <= channels; u += kTogether * kLanes) {
    Vector total[kTogether];
    for (int i = 0; i < kTogether; i++) total[i] = Vector{};
    for (int64_t row = 0; row < rows; row++)
      for (int i = 0; i < kTogether; i++) total[i] += load(a + row * channels + u + i * kLanes);
    for (int i = 0; i < kTogether; i++) store(sum + u + i * kLanes, total[i]);
  }
  each_vector(channels - u, [&](const auto access, const int64_t v) __attribute__((always_inline)) {
    Vector one = {}, two = {};
    const float* from = a + u + v;
    int64_t row = 0;
    for (; row + 2 <= rows; row += 2) {
      one += access.load(from + row * channels);
      two += access.load(from + (row + 1) * channels);
    }
    if (row < rows) one += access.load(from + row * channels);
    access.store(sum + u + v, one + two);
  });
}

// ---- GELU ----

// Phi(x), the normal distribution function, and exp(-x^2 / 2). With u = |x| and t = 1 / (1 + 0.35 u),
// exp(u^2 / 2) Phi(-u) is a polynomial in t (an own fit, relative error 3e-8, in float32 arithmetic 3e-7), so that
// the tail keeps its digits.
INLINE void normal(Vector x, Vector* distribution, Vector* bell) {
  const Vector u = x < 0.0f ? -x : x;
  const Vector t = 1.0f / (u * 0.35f + 1.0f);
  Vector p = t * -0.029164310544729233f + 0.14406265318393707f;
  p = p * t + -0.25590550899505615f;
  p = p * t + 0.15939676761627197f;
  p = p * t + -0.023266181349754333f;
  p = p * t + 0.10557563602924347f;
  p = p * t + 0.11981533467769623f;
  p = p * t + 0.13986435532569885f;
  p = p * t + 0.13962125778198242f;
  *bell = exp_negative(x * x * -0.5f);
  const Vector tail = p * t * *bell;
  *distribution = x > 0.0f ? 1.0f - tail : tail;
}

// tanh(sqrt(2 / pi) * (x + 0.044715 x^3)) and the derivative of its argument.
INLINE Vector gelu_tanh(Vector x, Vector* slope) {
  const Vector square = x * x * 0.044715f;
  *slope = (square * 3.0f + 1.0f) * 0.7978845608028654f;
  return tanh(x * (square + 1.0f) * 0.7978845608028654f);
}

void gelu(int64_t count, bool approximate, const float* x, float* y) {
  EACH_VECTOR(count) {
    const Vector v = access.load(x + u);
    Vector distribution, other;
    if (approximate) {
      distribution = gelu_tanh(v, &other) * 0.5f + 0.5f;
    } else {
      normal(v, &distribution, &other);
    }
    access.store(y + u, v * distribution);
  });
}

void gelu_gradient(int64_t count, bool approximate, const float* x, const float* dy, float* dx) {
  EACH_VECTOR(count) {
    const Vector v = access.load(x + u);
    Vector distribution, density;
    if (approximate) {
      Vector slope;
      const Vector t = gelu_tanh(v, &slope);
      distribution = t * 0.5f + 0.5f;
      density = (1.0f - t * t) * slope * 0.5f;
    } else {
      Vector bell;
      normal(v, &distribution, &bell);
      density = bell * 0.3989422804014327f;
    }
    access.store(dx + u, access.load(dy + u) * (distribution + v * density));
  });
}

// The compiler joins a loop over memory into one instruction, and then leaves out the memory.
INLINE Vector root(Vector v) {
  float a[kLanes] __attribute__((aligned(sizeof(Vector))));
  store(a, v);
  for (int j = 0; j < kLanes; j++) a[j] = __builtin_sqrtf(a[j]);
  return load(a);
}

void adam(int64_t n, const AdamStep& step, const float* gradient, const float* value, const float* m, const float* v,
          float* new_value, float* new_m, float* new_v) {
  EACH_VECTOR(n) {
    const Vector g = access.load(gradient + u);
    Vector mean = access.load(m + u), square = access.load(v + u);
    mean += (g - mean) * step.mean_weight;
    square += (g * g - square) * step.square_weight;
    const Vector change = mean * step.rate / (root(square) + step.epsilon);
    access.store(new_value + u, access.load(value + u) - change);
    access.store(new_m + u, mean);
    access.store(new_v + u, square);
  });
}

// ---- rows ----

void layer_norm(int64_t n, float epsilon, const float* x, const float* gamma, const float* beta, float* y,
                float* moments) {
  Vector sums = {};
  EACH_VECTOR(n) { sums += access.load(x + u); });
  const float mean = total(sums) / static_cast<float>(n);
  Vector squares = {};
  EACH_VECTOR(n) {
    const Vector deviation = access.only(access.load(x + u) - mean);
    squares += deviation * deviation;
  });
  const float r = 1.0f / __builtin_sqrtf(total(squares) / static_cast<float>(n) + epsilon);
  EACH_VECTOR(n) {
    Vector h = (access.load(x + u) - mean) * r;
    if (gamma) h *= access.load(gamma + u);
    if (beta) h += access.load(beta + u);
    access.store(y + u, h);
  });
  moments[0] = mean;
  moments[1] = r;
}

void layer_norm_gradient(int64_t n, const float* x, const float* gamma, const float* moments, const float* dy,
                         float* dx, float* dgamma, float* dbeta) {
  // With h = (x - mean) * r and t = dy * gamma: dx = r * (t - mean(t) - h * mean(t * h)).
  const float mean = moments[0], r = moments[1];
  Vector sums = {}, products = {};
  EACH_VECTOR(n) {
    const Vector h = (access.load(x + u) - mean) * r, d = access.load(dy + u);
    access.store(dgamma + u, access.load(dgamma + u) + d * h);
    access.store(dbeta + u, access.load(dbeta + u) + d);
    const Vector t = gamma ? d * access.load(gamma + u) : d;
    sums += t;
    products += t * h;
  });
  const float mean_t = total(sums) / static_cast<float>(n), mean_th = total(products) / static_cast<float>(n);
  EACH_VECTOR(n) {
    const Vector h = (access.load(x + u) - mean) * r, d = access.load(dy + u);
    const Vector t = gamma ? d * access.load(gamma + u) : d;
    access.store(dx + u, (t - mean_t - h * mean_th) * r);
  });
}

void softmax(int64_t n, float* s, float* stats) {
  Vector most = load(s);
  for (int64_t u = kLanes; u < n; u += kLanes) {
    const Vector v = load(s + u);
    most = v > most ? v : most;
  }
  float largest = most[0];
  for (int j = 1; j < kLanes; j++) largest = most[j] > largest ? most[j] : largest;
  Vector sums = {};
  for (int64_t u = 0; u < n; u += kLanes) {
    const Vector e = exp_negative(load(s + u) - largest);
    sums += e;
    store(s + u, e);
  }
  stats[0] = largest;
  stats[1] = 1.0f / total(sums);
}

void softmax_again(int64_t n, float* s, const float* stats) {
  for (int64_t u = 0; u < n; u += kLanes) store(s + u, exp_negative(load(s + u) - stats[0]) * stats[1]);
}

void softmax_gradient(int64_t n, float scale, const float* p, float* dp) {
  Vector sums = {};
  for (int64_t u = 0; u < n; u += kLanes) sums += load(p + u) * load(dp + u);
  const float mean = total(sums);
  for (int64_t u = 0; u < n; u += kLanes) store(dp + u, load(p + u) * (load(dp + u) - mean) * scale);
}

void scale(int64_t count, float factor, float* a) {
  EACH_VECTOR(count) { access.store(a + u, access.load(a + u) * factor); });
}

// ---- Winograd transforms: of columns first, then of rows ----

INLINE void times_b(const Vector d[4], Vector out[4]) {
  out[0] = d[0] - d[2];
  out[1] = d[1] + d[2];
  out[2] = d[2] - d[1];
  out[3] = d[1] - d[3];
}
INLINE void times_g(const Vector g[3], Vector out[4]) {
  const Vector ends = (g[0] + g[2]) * 0.5f, middle = g[1] * 0.5f;
  out[0] = g[0];
  out[1] = ends + middle;
  out[2] = ends - middle;
  out[3] = g[2];
}
INLINE void times_g_transposed(const Vector u[4], Vector out[3]) {
  const Vector sum = (u[1] + u[2]) * 0.5f;
  out[0] = u[0] + sum;
  out[1] = (u[1] - u[2]) * 0.5f;
  out[2] = u[3] + sum;
}
INLINE void times_a(const Vector y[2], Vector out[4]) {
  out[0] = y[0];
  out[1] = y[0] + y[1];
  out[2] = y[0] - y[1];
  out[3] = -y[1];
}
INLINE void times_a_transposed(const Vector m[4], Vector out[2]) {
  out[0] = m[0] + m[1] + m[2];
  out[1] = m[1] - m[2] - m[3];
}

// Applies f, which makes OUT vectors of IN, to the columns and then to the rows of a square.
template <int IN, int OUT, class F>
INLINE void both_sides(const Vector in[IN][IN], Vector out[OUT][OUT], const F& f) {
  Vector half[IN][OUT];
  for (int c = 0; c < IN; c++) {
    Vector column[IN];
    for (int r = 0; r < IN; r++) column[r] = in[r][c];
    f(column, half[c]);
  }
  for (int r = 0; r < OUT; r++) {
    Vector row[IN];
    for (int c = 0; c < IN; c++) row[c] = half[c][r];
    f(row, out[r]);
  }
}

#define TRANSFORM(f) [](const Vector* in, Vector* out) __attribute__((always_inline)) { f(in, out); }

// Moves a pointer so that the compiler cannot foresee where it goes: it would keep the addresses of
// all 32 vectors of a tile in registers, which there are not, at the price of a hundred instructions
// before the first one is read.
template <class T>
INLINE T* step(T* p, ptrdiff_t distance) {
  p += distance;
  asm("" : "+r"(p));
  return p;
}

// The square of vectors at p: rows `row` floats apart, columns `column` floats apart.
template <int N, class Access>
INLINE void load_square(const Access& access, const float* p, ptrdiff_t row, ptrdiff_t column,
                        Vector out[N][N]) {
  for (int r = 0; r < N; r++, p = step(p, row)) {
    const float* q = p;
    for (int c = 0; c < N; c++, q = step(q, column)) out[r][c] = access.load(q);
  }
}
template <int N, class Access>
INLINE void store_square(const Access& access, float* p, ptrdiff_t row, ptrdiff_t column,
                         const Vector in[N][N]) {
  for (int r = 0; r < N; r++, p = step(p, row)) {
    float* q = p;
    for (int c = 0; c < N; c++, q = step(q, column)) access.store(q, in[r][c]);
  }
}

void winograd_kernel(int64_t count, const float* w, float* points) {
  EACH_VECTOR(count) {
    Vector in[3][3], out[4][4];
    load_square<3>(access, w + u, 3 * count, count, in);
    both_sides<3, 4>(in, out, TRANSFORM(times_g));
    store_square<4>(access, points + u, 4 * count, count, out);
  });
}

void winograd_kernel_gradient(int64_t count, const float* points, float* dw) {
  EACH_VECTOR(count) {
    Vector in[4][4], out[3][3];
    load_square<4>(access, points + u, 4 * count, count, in);
    both_sides<4, 3>(in, out, TRANSFORM(times_g_transposed));
    store_square<3>(access, dw + u, 3 * count, count, out);
  });
}

// The square of 4 rows and columns at d, where only what is inside is read.
template <class Access>
INLINE void load_part(const Access& access, const float* d, ptrdiff_t row, ptrdiff_t column, const TileRange& inside,
                      Vector out[4][4]) {
  for (int r = 0; r < 4; r++)
    for (int c = 0; c < 4; c++) out[r][c] = Vector{};
#pragma GCC unroll 1
  for (int64_t r = inside.first_row; r < inside.last_row; r++)
#pragma GCC unroll 1
    for (int64_t c = inside.first_column; c < inside.last_column; c++)
      out[r][c] = access.load(d + r * row + c * column);
}

template <bool WHOLE, bool SIGNS>
void transform_tile(int64_t channels, const float* d, const float* y, ptrdiff_t row, const TileRange& inside,
                    float* points) {
  EACH_VECTOR(channels) {
    Vector in[4][4], out[4][4];
    if constexpr (WHOLE) {
      // The two columns that the tile after the next one will read first: the tiles of a row walk
      // along four rows of the image, too many short steps for the processor to foresee.
      const float* ahead = d + u + 6 * channels;
      for (int r = 0; r < 4; r++, ahead = step(ahead, row)) {
        __builtin_prefetch(ahead);
        __builtin_prefetch(ahead + channels);
      }
      load_square<4>(access, d + u, row, channels, in);
    } else {
      load_part(access, d + u, row, channels, inside, in);
    }
    if constexpr (SIGNS) {
      Vector sign[4][4];
      if constexpr (WHOLE) {
        load_square<4>(access, y + u, row, channels, sign);
      } else {
        load_part(access, y + u, row, channels, inside, sign);
      }
      for (int r = 0; r < 4; r++)
        for (int c = 0; c < 4; c++) in[r][c] = where_positive(in[r][c], sign[r][c]);
    }
    both_sides<4, 4>(in, out, TRANSFORM(times_b));
    store_square<4>(access, points + u, 4 * channels, channels, out);
  });
}

void winograd_input(int64_t channels, const float* d, const float* y, ptrdiff_t row, const TileRange& inside,
                    float* points) {
  if (inside.whole()) {
    y ? transform_tile<true, true>(channels, d, y, row, inside, points)
      : transform_tile<true, false>(channels, d, y, row, inside, points);
  } else {
    y ? transform_tile<false, true>(channels, d, y, row, inside, points)
      : transform_tile<false, false>(channels, d, y, row, inside, points);
  }
}

void winograd_output(int64_t channels, const float* points, const float* bias, bool relu, float* to, ptrdiff_t row,
                     int64_t rows, int64_t columns) {
  EACH_VECTOR(channels) {
    Vector in[4][4], out[2][2];
    load_square<4>(access, points + u, 4 * channels, channels, in);
    both_sides<4, 2>(in, out, TRANSFORM(times_a_transposed));
    const Vector start = bias ? access.load(bias + u) : Vector{};
    for (int r = 0; r < 2; r++)
      for (int c = 0; c < 2; c++)
        if (r < rows && c < columns) {
          const Vector v = out[r][c] + start;
          access.store(to + r * row + c * channels + u, relu ? positive(v) : v);
        }
  });
}

void winograd_output_gradient(int64_t channels, const float* d, const float* y, ptrdiff_t row, int64_t rows,
                              int64_t columns, float* points, float* column_sum) {
  EACH_VECTOR(channels) {
    Vector in[2][2], out[4][4];
    for (int r = 0; r < 2; r++)
      for (int c = 0; c < 2; c++) {
        in[r][c] = Vector{};
        if (r < rows && c < columns) {
          const ptrdiff_t place = r * row + c * channels + u;
          in[r][c] = access.load(d + place);
          if (y) in[r][c] = where_positive(in[r][c], access.load(y + place));
        }
      }
    if (column_sum)
      access.store(column_sum + u,
                   access.load(column_sum + u) + ((in[0][0] + in[0][1]) + (in[1][0] + in[1][1])));
    both_sides<2, 4>(in, out, TRANSFORM(times_a));
    store_square<4>(access, points + u, 4 * channels, channels, out);
  });
}

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOIN_OF(a, b) a##b
#define JOIN(a, b) JOIN_OF(a, b)

const InnerLoops table = {
    TEXT(FITLOOM_SET),
    kLanes,
    kPanel,
    pack,
    multiply,
    outer_scratch,
    outer,
    depthwise,
    depthwise_outer,
    max_pool,
    max_pool_gradient,
    lstm_forward,
    lstm_backward,
    gru_forward,
    gru_backward,
    add,
    where_positive,
    channel_moments,
    channel_products,
    column_sum,
    gelu,
    gelu_gradient,
    adam,
    layer_norm,
    layer_norm_gradient,
    softmax,
    softmax_again,
    softmax_gradient,
    scale,
    winograd_kernel,
    winograd_kernel_gradient,
    winograd_input,
    winograd_output,
    winograd_output_gradient,
};

}  // namespace

const InnerLoops* JOIN(inner_loops_, FITLOOM_SET)() { return &table; }

}  // namespace fitloom
