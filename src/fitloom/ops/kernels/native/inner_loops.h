// SPDX-License-Identifier: Apache-2.0
// What one instruction set's version of the inner loops offers. `inner_loops.cc` is compiled once
// for each set; `handlers.cc` picks a table at run time. Nothing here knows about threads,
// memory allocation, or the shape of images: positions are lists of offsets.
//
// Only plain C headers may be included from the files compiled for a special instruction set: an
// inline function of the C++ library compiled there could be the copy the linker keeps for all.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace fitloom {

// A product with so few columns may be `narrow`.
constexpr int64_t kNarrow = 4;

// Rows of `Outer` that are handled together; its scratch memory is sized by it.
constexpr int64_t kOuterBlock = 128;

// c[c_offset[m] + j] (+)= sum over segments s and k < length of
//     a[a_offset[m] + segment[s] + k] * b(s * length + k, j)      for m < rows, j < columns
// with b packed into panels by `pack`. If not accumulating, the sum begins with bias[j] where bias is given; `relu`
// makes what is negative zero before it is stored. Or, if `narrow`, each segment of b packed transposed by
// itself, b[(s * columns + j) * length + k], where columns is at most kNarrow and length a multiple
// of the lanes: then vectors run along k, because columns would leave most lanes empty.
struct Product {
  const float* a;
  const ptrdiff_t* a_offset;
  int64_t rows;
  const ptrdiff_t* segment;
  int64_t segments;
  int64_t length;
  const float* b;
  int64_t columns;
  float* c;
  const ptrdiff_t* c_offset;
  bool accumulate;
  bool narrow;
  const float* bias = nullptr;
  bool relu = false;
};

// c[(s * length + k) * c_stride + j] += sum over rows m of
//     a[a_offset[m] + segment[s] + k] * d[m * d_stride + j]
// and, if column_sum is given, column_sum[j] += sum over rows of d[m * d_stride + j]. If y is given, it has the
// layout of d, and d counts as zero where y is not positive: the gradient of max(y, 0). If `fresh`, c is written
// without being read.
struct Outer {
  const float* a;
  const ptrdiff_t* a_offset;
  int64_t rows;
  const ptrdiff_t* segment;
  int64_t segments;
  int64_t length;
  const float* d;
  ptrdiff_t d_stride;
  int64_t columns;
  float* c;
  ptrdiff_t c_stride;
  float* column_sum;
  float* scratch;  // outer_scratch(segments, length) floats, aligned to 64 bytes
  const float* y = nullptr;
  bool fresh = false;
};

// y[y_offset[m] + j] = sum over segments s of x[x_offset[m] + segment[s] + j] * w[s * channels + j]
struct Depthwise {
  const float* x;
  const ptrdiff_t* x_offset;
  int64_t rows;
  const ptrdiff_t* segment;
  int64_t segments;
  int64_t channels;
  const float* w;
  float* y;
  const ptrdiff_t* y_offset;
};

// dw[s * channels + j] += sum over rows m of x[x_offset[m] + segment[s] + j] * dy[m * channels + j]
struct DepthwiseOuter {
  const float* x;
  const ptrdiff_t* x_offset;
  int64_t rows;
  const ptrdiff_t* segment;
  int64_t segments;
  int64_t channels;
  const float* dy;
  float* dw;
};

// Windows of neighbouring outputs that see the same places: place p of output o begins at place[p] + o * step, and is
// called number[p]. The outputs lie side by side.
struct PoolingRun {
  const ptrdiff_t* place;
  const uint8_t* number;
  int64_t places;
  int64_t outputs;
  ptrdiff_t step;
  int64_t channels;
};

// Winograd's F(2x2, 3x3) (Lavin and Gray, arXiv:1509.09308): with 4x4 tiles d of the input, kernels g
// and 2x2 tiles y of the output, y = A^T [(G g G^T) * (B^T d B)] A, where * is element by element and
//   B^T = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1]   G = [1 0 0; .5 .5 .5; .5 -.5 .5; 0 0 1]
//   A^T = [1 1 1 0; 0 1 -1 -1]
// The kPoints elements of a transformed tile follow one another, each a vector of all channels.
constexpr int64_t kPoints = 16;

// The rows and columns of a 4x4 tile that lie inside the image.
struct TileRange {
  int64_t first_row, last_row, first_column, last_column;  // the last ones excluded
  bool whole() const { return first_row == 0 && first_column == 0 && last_row == 4 && last_column == 4; }
};

struct AdamStep {
  float rate, mean_weight, square_weight, epsilon;
};

struct InnerLoops {
  const char* name;
  int64_t lanes;          // floats in a vector
  int64_t panel_vectors;  // vectors in a full panel of packed columns

  // One panel: out[k * width + j] = source[k * row_stride + j * column_stride] for k < rows,
  // j < columns, where width is columns rounded up to whole vectors; the rest is zero.
  void (*pack)(const float* source, ptrdiff_t row_stride, ptrdiff_t column_stride, int64_t rows,
               int64_t columns, float* out);
  void (*multiply)(const Product&);
  int64_t (*outer_scratch)(int64_t segments, int64_t length);
  void (*outer)(const Outer&);
  void (*depthwise)(const Depthwise&);
  void (*depthwise_outer)(const DepthwiseOuter&);

  // y = the largest value of each window, or NaN if there is one; winner = the number of the first place that holds it.
  void (*max_pool)(const PoolingRun&, const float* x, float* y, uint8_t* winner);
  // dx gets dy where winner says so and zero at the other places of the windows; or, if `add`, dy is added to it.
  void (*max_pool_gradient)(const PoolingRun&, const float* dy, const uint8_t* winner, bool add, float* dx);

  // One step of one row. Gates come in as sums and leave activated (LSTM: i, f, g, o).
  void (*lstm_forward)(int64_t units, float* gates, const float* c_before, float* c_after,
                       float* h_after);
  // dc comes in as the gradient of c_after and leaves as that of c_before.
  void (*lstm_backward)(int64_t units, const float* gates, const float* c_before,
                        const float* c_after, const float* dh, float* dc, float* da);
  // gates leaves as z, r, candidate, and the recurrent part of the candidate before the reset.
  void (*gru_forward)(int64_t units, const float* projected, const float* recurrent,
                      const float* h_before, float* gates, float* h_after);
  // dh leaves as the part of the gradient of h_before that does not pass through the matrix.
  void (*gru_backward)(int64_t units, const float* gates, const float* h_before, float* dh,
                       float* da, float* da_recurrent);

  void (*add)(int64_t n, const float* source, float* sum);
  // out = d where y is positive, else 0.
  void (*where_positive)(int64_t n, const float* d, const float* y, float* out);

  // first[j] = sum over rows of (a[j] - center[j]), second[j] = sum of (a[j] - center[j])^2.
  void (*channel_moments)(int64_t rows, int64_t channels, const float* a, const float* center, float* first,
                          float* second);
  // first[j] = sum over rows of b[j], second[j] = sum of (a[j] - center[j]) * b[j].
  void (*channel_products)(int64_t rows, int64_t channels, const float* a, const float* center,
                           const float* b, float* first, float* second);

  // sum[j] = sum over rows of a[j].
  void (*column_sum)(int64_t rows, int64_t channels, const float* a, float* sum);

  // y = x Phi(x) with the normal distribution function Phi, or its tanh form; dx = dy times its derivative.
  void (*gelu)(int64_t n, bool approximate, const float* x, float* y);
  void (*gelu_gradient)(int64_t n, bool approximate, const float* x, const float* dy, float* dx);

  // One step of Adam: m and v are the means of the gradient and of its square, 1 - b1 and 1 - b2 what the new ones
  // weigh. Results may lie where the operands lie.
  void (*adam)(int64_t n, const AdamStep&, const float* gradient, const float* value, const float* m, const float* v,
               float* new_value, float* new_m, float* new_v);

  // y = (x - mean) * r * gamma + beta for one row; gamma and beta may be nullptr. Returns mean and r in
  // moments[0] and moments[1].
  void (*layer_norm)(int64_t n, float epsilon, const float* x, const float* gamma, const float* beta, float* y,
                     float* moments);
  // dx for one row; adds its part to dgamma and dbeta. gamma may be nullptr.
  void (*layer_norm_gradient)(int64_t n, const float* x, const float* gamma, const float* moments,
                              const float* dy, float* dx, float* dgamma, float* dbeta);

  // s = exp(s - largest); n is a multiple of the lanes. Returns the largest and 1 / sum in stats[0], stats[1].
  void (*softmax)(int64_t n, float* s, float* stats);
  // The same for known stats, times 1 / sum.
  void (*softmax_again)(int64_t n, float* s, const float* stats);
  // dp = scale * p * (dp - sum(p * dp))
  void (*softmax_gradient)(int64_t n, float scale, const float* p, float* dp);
  // a = factor * a
  void (*scale)(int64_t n, float factor, float* a);

  // G g G^T for n kernels at once: place p of the kernels begins at w + p * n, point p at
  // points + p * n.
  void (*winograd_kernel)(int64_t n, const float* w, float* points);
  // G^T u G, its transpose.
  void (*winograd_kernel_gradient)(int64_t n, const float* points, float* dw);
  // B^T d B for one tile; row r begins at d + r * row, point p at points + p * channels. Only rows and columns in
  // `inside` are read, the others count as zero. y as in `Outer`, or nullptr.
  void (*winograd_input)(int64_t channels, const float* d, const float* y, ptrdiff_t row, const TileRange& inside,
                         float* points);
  // A^T m A + bias (or nullptr), negative results as zero if `relu`; only `rows` x `columns` (1 or 2 each) of the
  // tile are written.
  void (*winograd_output)(int64_t channels, const float* points, const float* bias, bool relu, float* out,
                          ptrdiff_t row, int64_t rows, int64_t columns);
  // A d A^T, its transpose; what is not read counts as zero. y as in `Outer`, or nullptr; d is added up in
  // column_sum, if given.
  void (*winograd_output_gradient)(int64_t channels, const float* d, const float* y, ptrdiff_t row, int64_t rows,
                                   int64_t columns, float* points, float* column_sum);
};

const InnerLoops* inner_loops_avx512();
const InnerLoops* inner_loops_avx2();
const InnerLoops* inner_loops_neon();

}  // namespace fitloom
