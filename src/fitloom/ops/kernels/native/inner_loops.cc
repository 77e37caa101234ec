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

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t round_up(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// A tile keeps rows * vectors sums in registers, beside one vector of b for each column and one
// broadcast element of a. With 32 registers panels are 4 vectors wide, with 16 they are 2.
constexpr int kPanel = FITLOOM_REGISTERS >= 32 ? 4 : 2;
constexpr int most_rows(int vectors) {
  return FITLOOM_REGISTERS >= 32 ? (vectors == 4 ? 6 : vectors == 3 ? 8 : vectors == 2 ? 12 : 14)
                                 : (vectors == 2 ? 6 : 10);
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
  for (int64_t j = 0; j < columns; j++)
    for (int64_t k = 0; k < rows; k++)
      out[k * width + j] = source[k * row_stride + j * column_stride];
  for (int64_t j = columns; j < width; j++)
    for (int64_t k = 0; k < rows; k++) out[k * width + j] = 0;
}

// ---- c = a b ----

// ROWS rows of one panel of VECTORS vectors, of which the last has `tail` columns.
template <int ROWS, int VECTORS>
INLINE void product_tile(const Product& t, const ptrdiff_t* a_offset, const ptrdiff_t* c_offset,
                         const float* b, int64_t column, int64_t tail) {
  Vector sum[ROWS][VECTORS];
  for (int i = 0; i < ROWS; i++) {
    const float* c = t.c + c_offset[i] + column;
    for (int j = 0; j < VECTORS; j++) {
      if (!t.accumulate) {
        sum[i][j] = Vector{};
      } else if (j == VECTORS - 1 && tail < kLanes) {
        sum[i][j] = load_first(c + j * kLanes, tail);
      } else {
        sum[i][j] = load(c + j * kLanes);
      }
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
  for (int i = 0; i < ROWS; i++) {
    float* c = t.c + c_offset[i] + column;
    for (int j = 0; j < VECTORS; j++) {
      if (j == VECTORS - 1 && tail < kLanes) {
        store_first(c + j * kLanes, sum[i][j], tail);
      } else {
        store(c + j * kLanes, sum[i][j]);
      }
    }
  }
}

template <int ROWS, int VECTORS>
void product_rows(int64_t rows, const Product& t, const ptrdiff_t* a_offset,
                  const ptrdiff_t* c_offset, const float* b, int64_t column, int64_t tail) {
  if (rows == ROWS) {
    product_tile<ROWS, VECTORS>(t, a_offset, c_offset, b, column, tail);
  } else if constexpr (ROWS > 1) {
    product_rows<ROWS - 1, VECTORS>(rows, t, a_offset, c_offset, b, column, tail);
  }
}

template <int VECTORS>
void product_panel(const Product& t, const float* b, int64_t column, int64_t tail) {
  // Split the rows evenly: a last tile of one row would wait for its own sums.
  constexpr int most = most_rows(VECTORS);
  const int64_t tiles = (t.rows + most - 1) / most;
  int64_t m = 0;
  for (int64_t tile = 0; tile < tiles; tile++) {
    const int64_t rows = t.rows / tiles + (tile < t.rows % tiles);
    product_rows<most, VECTORS>(rows, t, t.a_offset + m, t.c_offset + m, b, column, tail);
    m += rows;
  }
}

// Sums of all lanes, and of a product with few columns: see `Product::narrow`.
INLINE float total(Vector v) {
  float sum = 0;
  for (int j = 0; j < kLanes; j++) sum += v[j];
  return sum;
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
      *c = total(sum[i][j]) + (t.accumulate ? *c : 0.0f);
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
    const int64_t tail = columns - (vectors - 1) * kLanes;
    switch (vectors) {
      case 1: product_panel<1>(t, b, column, tail); break;
      case 2: product_panel<2>(t, b, column, tail); break;
#if FITLOOM_REGISTERS >= 32
      case 3: product_panel<3>(t, b, column, tail); break;
      case 4: product_panel<4>(t, b, column, tail); break;
#endif
    }
    b += t.segments * t.length * vectors * kLanes;
  }
}

// ---- c += a^T d ----

// a[p] + first is where ROWS neighbouring elements of row p begin.
template <int ROWS, int VECTORS>
INLINE void outer_tile(int64_t rows, const float* a, const ptrdiff_t* a_offset, const float* d,
                       float* c, ptrdiff_t c_stride, int64_t tail) {
  Vector sum[ROWS][VECTORS];
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECTORS; j++) {
      const float* from = c + i * c_stride + j * kLanes;
      sum[i][j] = j == VECTORS - 1 && tail < kLanes ? load_first(from, tail) : load(from);
    }
  for (int64_t p = 0; p < rows; p++) {
    const float* ap = a + a_offset[p];
    Vector dp[VECTORS];
    for (int j = 0; j < VECTORS; j++) dp[j] = load(d + j * kLanes);
    d += VECTORS * kLanes;
    for (int i = 0; i < ROWS; i++) {
      const Vector api = splat(ap[i]);
      for (int j = 0; j < VECTORS; j++) sum[i][j] += api * dp[j];
    }
  }
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECTORS; j++) {
      float* to = c + i * c_stride + j * kLanes;
      if (j == VECTORS - 1 && tail < kLanes) {
        store_first(to, sum[i][j], tail);
      } else {
        store(to, sum[i][j]);
      }
    }
}

template <int ROWS, int VECTORS>
void outer_rows(int64_t n, int64_t rows, const float* a, const ptrdiff_t* a_offset, const float* d,
                float* c, ptrdiff_t c_stride, int64_t tail) {
  if (n == ROWS) {
    outer_tile<ROWS, VECTORS>(rows, a, a_offset, d, c, c_stride, tail);
  } else if constexpr (ROWS > 1) {
    outer_rows<ROWS - 1, VECTORS>(n, rows, a, a_offset, d, c, c_stride, tail);
  }
}

template <int VECTORS>
void outer_panel(int64_t length, int64_t rows, const float* a, const ptrdiff_t* a_offset,
                 const float* d, float* c, ptrdiff_t c_stride, int64_t tail) {
  constexpr int most = most_rows(VECTORS);
  const int64_t tiles = (length + most - 1) / most;
  int64_t k = 0;
  for (int64_t tile = 0; tile < tiles; tile++) {
    const int64_t n = length / tiles + (tile < length % tiles);
    outer_rows<most, VECTORS>(n, rows, a + k, a_offset, d, c + k * c_stride, c_stride, tail);
    k += n;
  }
}

// Segments shorter than this are gathered into rows of their own, to fill the tiles.
constexpr int64_t kShort = 8;

bool gathered(int64_t segments, int64_t length) { return segments > 1 && length < kShort; }

int64_t outer_scratch(int64_t segments, int64_t length) {
  const int64_t panel = kOuterBlock * kPanel * kLanes;
  return panel + (gathered(segments, length) ? kOuterBlock * segments * length : 0);
}

// The same for so few columns that they would leave most lanes empty: vectors run along the
// segment, and c is updated transposed.
template <int VECTORS, int COLUMNS>
INLINE void outer_narrow_tile(const Outer& t, const float* a, float* c) {
  Vector sum[VECTORS][COLUMNS];
  for (int i = 0; i < VECTORS; i++)
    for (int j = 0; j < COLUMNS; j++) sum[i][j] = Vector{};
  const float* d = t.d;
  for (int64_t p = 0; p < t.rows; p++, d += t.d_stride) {
    const float* ap = a + t.a_offset[p];
    Vector dp[COLUMNS];
    for (int j = 0; j < COLUMNS; j++) dp[j] = splat(d[j]);
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
          to()[j] += from()[t.a_offset[p]] * t.d[p * t.d_stride + j];
  }
  if (t.column_sum)
    for (int64_t p = 0; p < t.rows; p++)
      for (int j = 0; j < COLUMNS; j++) t.column_sum[j] += t.d[p * t.d_stride + j];
}

void outer(const Outer& t) {
  if (t.columns <= kNarrow && t.length >= kLanes) {
    switch (t.columns) {
      case 1: return outer_narrow<1>(t);
      case 2: return outer_narrow<2>(t);
      case 3: return outer_narrow<3>(t);
      case 4: return outer_narrow<4>(t);
    }
  }
  float* packed = t.scratch;
  float* rows_of_a = t.scratch + kOuterBlock * kPanel * kLanes;
  const int64_t depth = t.segments * t.length;
  const bool gather = gathered(t.segments, t.length);
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
      const int64_t vectors = (columns + kLanes - 1) / kLanes;
      const int64_t tail = columns - (vectors - 1) * kLanes;
      pack(t.d + first * t.d_stride + column, t.d_stride, 1, rows, columns, packed);
      if (t.column_sum) {
        for (int64_t j = 0; j < vectors; j++) {
          Vector sum = {};
          for (int64_t p = 0; p < rows; p++) sum += load(packed + (p * vectors + j) * kLanes);
          float* to = t.column_sum + column + j * kLanes;
          const int64_t n = j == vectors - 1 ? tail : kLanes;
          store_first(to, sum + load_first(to, n), n);
        }
      }
      const auto panel = [&](int64_t length, const float* a, const ptrdiff_t* a_offset, float* c) {
        switch (vectors) {
          case 1: outer_panel<1>(length, rows, a, a_offset, packed, c, t.c_stride, tail); break;
          case 2: outer_panel<2>(length, rows, a, a_offset, packed, c, t.c_stride, tail); break;
#if FITLOOM_REGISTERS >= 32
          case 3: outer_panel<3>(length, rows, a, a_offset, packed, c, t.c_stride, tail); break;
          case 4: outer_panel<4>(length, rows, a, a_offset, packed, c, t.c_stride, tail); break;
#endif
        }
      };
      if (gather) {
        panel(depth, rows_of_a, dense_offset, t.c + column);
      } else {
        for (int64_t s = 0; s < t.segments; s++)
          panel(t.length, t.a + t.segment[s], t.a_offset + first,
                t.c + s * t.length * t.c_stride + column);
      }
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

// Calls body(u, n) for each vector of n lanes beginning at u.
#define FOR_EACH_VECTOR(units, u, n)                          \
  for (int64_t u = 0, n = least(units, kLanes); u < (units); \
       u += kLanes, n = least((units) - u, kLanes))
INLINE Vector load_n(const float* p, int64_t n) { return n == kLanes ? load(p) : load_first(p, n); }
INLINE void store_n(float* p, Vector v, int64_t n) {
  if (n == kLanes) {
    store(p, v);
  } else {
    store_first(p, v, n);
  }
}

void lstm_forward(int64_t units, float* gates, const float* c_before, float* c_after,
                  float* h_after) {
  float *pi = gates, *pf = gates + units, *pg = gates + 2 * units, *po = gates + 3 * units;
  FOR_EACH_VECTOR(units, u, n) {
    const Vector i = sigmoid(load_n(pi + u, n)), f = sigmoid(load_n(pf + u, n));
    const Vector g = tanh(load_n(pg + u, n)), o = sigmoid(load_n(po + u, n));
    const Vector c = f * load_n(c_before + u, n) + i * g;
    store_n(pi + u, i, n);
    store_n(pf + u, f, n);
    store_n(pg + u, g, n);
    store_n(po + u, o, n);
    store_n(c_after + u, c, n);
    store_n(h_after + u, o * tanh(c), n);
  }
}

void lstm_backward(int64_t units, const float* gates, const float* c_before, const float* c_after,
                   const float* dh, float* dc, float* da) {
  FOR_EACH_VECTOR(units, u, n) {
    const Vector i = load_n(gates + u, n), f = load_n(gates + units + u, n);
    const Vector g = load_n(gates + 2 * units + u, n), o = load_n(gates + 3 * units + u, n);
    const Vector t = tanh(load_n(c_after + u, n)), h = load_n(dh + u, n);
    const Vector c = load_n(dc + u, n) + h * o * (1.0f - t * t);
    store_n(da + u, c * g * (i - i * i), n);
    store_n(da + units + u, c * load_n(c_before + u, n) * (f - f * f), n);
    store_n(da + 2 * units + u, c * i * (1.0f - g * g), n);
    store_n(da + 3 * units + u, h * t * (o - o * o), n);
    store_n(dc + u, c * f, n);
  }
}

void gru_forward(int64_t units, const float* projected, const float* recurrent,
                 const float* h_before, float* gates, float* h_after) {
  FOR_EACH_VECTOR(units, u, n) {
    const Vector z = sigmoid(load_n(projected + u, n) + load_n(recurrent + u, n));
    const Vector r = sigmoid(load_n(projected + units + u, n) + load_n(recurrent + units + u, n));
    const Vector inside = load_n(recurrent + 2 * units + u, n);
    const Vector g = tanh(load_n(projected + 2 * units + u, n) + r * inside);
    store_n(gates + u, z, n);
    store_n(gates + units + u, r, n);
    store_n(gates + 2 * units + u, g, n);
    store_n(gates + 3 * units + u, inside, n);
    store_n(h_after + u, g + z * (load_n(h_before + u, n) - g), n);
  }
}

void gru_backward(int64_t units, const float* gates, const float* h_before, float* dh, float* da,
                  float* da_recurrent) {
  FOR_EACH_VECTOR(units, u, n) {
    const Vector z = load_n(gates + u, n), r = load_n(gates + units + u, n);
    const Vector g = load_n(gates + 2 * units + u, n), inside = load_n(gates + 3 * units + u, n);
    const Vector d = load_n(dh + u, n);
    const Vector dz = d * (load_n(h_before + u, n) - g) * (z - z * z);
    const Vector dg = d * (1.0f - z) * (1.0f - g * g);
    const Vector dr = dg * inside * (r - r * r);
    store_n(da + u, dz, n);
    store_n(da + units + u, dr, n);
    store_n(da + 2 * units + u, dg, n);
    store_n(da_recurrent + u, dz, n);
    store_n(da_recurrent + units + u, dr, n);
    store_n(da_recurrent + 2 * units + u, dg * r, n);
    store_n(dh + u, d * z, n);
  }
}

void add(int64_t count, const float* source, float* sum) {
  FOR_EACH_VECTOR(count, u, n) store_n(sum + u, load_n(sum + u, n) + load_n(source + u, n), n);
}

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOIN_OF(a, b) a##b
#define JOIN(a, b) JOIN_OF(a, b)

const InnerLoops table = {
    TEXT(FITLOOM_SET), kLanes,      kPanel,        pack,         multiply,     outer_scratch, outer,
    depthwise,         depthwise_outer, lstm_forward, lstm_backward, gru_forward, gru_backward, add,
};

}  // namespace

const InnerLoops* JOIN(inner_loops_, FITLOOM_SET)() { return &table; }

}  // namespace fitloom
