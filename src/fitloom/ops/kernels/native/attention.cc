// SPDX-License-Identifier: Apache-2.0
// Scaled dot-product attention and its gradient.
//
// Arrays are (batch, positions, heads, size), read where they lie: no head is moved next to the batch. A block
// of queries meets all keys at once; its scores stay in the second-level cache and are never written to memory.
// The gradient computes them again from two numbers a row, the largest product and 1 / the sum of exponentials.
#include <cstring>

#include "runtime.h"

namespace fitloom {
namespace {

// Floats of a block of scores, and the most queries in one.
constexpr int64_t kBlockFloats = 64 << 10;
constexpr int64_t kMostQueries = kOuterBlock;
// As in attention.py: far below every product, but finite, so that a query which sees no key gets their mean.
constexpr float kUnseen = 0.7f * -3.4028234663852886e38f;

struct Shapes {
  int64_t batch, queries, keys, heads, key_heads, size, value_size;
  bool causal;
  const bool* mask;                               // or nullptr
  int64_t mask_batch, mask_head, mask_query, mask_key;  // strides, 0 where one entry is for all

  int64_t group() const { return heads / key_heads; }
  // Where the row of position `at` and head `head` begins.
  ptrdiff_t query_at(int64_t b, int64_t at, int64_t head) const { return ((b * queries + at) * heads + head) * size; }
  ptrdiff_t result_at(int64_t b, int64_t at, int64_t head) const {
    return ((b * queries + at) * heads + head) * value_size;
  }
  ptrdiff_t key_at(int64_t b, int64_t head) const { return (b * keys * key_heads + head) * size; }
  ptrdiff_t value_at(int64_t b, int64_t head) const { return (b * keys * key_heads + head) * value_size; }
  int64_t stats_at(int64_t b, int64_t head, int64_t query) const { return 2 * ((b * heads + head) * queries + query); }
};

Shapes shapes(const Floats& q, const Floats& k, const Floats& v, const Bools& mask, int64_t causal) {
  const auto dq = q.dimensions(), dk = k.dimensions(), dv = v.dimensions(), m = mask.dimensions();
  expect(dq.size() == 4 && dk.size() == 4 && dv.size() == 4, "ranks");
  Shapes s;
  s.batch = dq[0];
  s.queries = dq[1];
  s.heads = dq[2];
  s.size = dq[3];
  s.keys = dk[1];
  s.key_heads = dk[2];
  s.value_size = dv[3];
  s.causal = causal != 0;
  expect(dk[0] == s.batch && dv[0] == s.batch && dv[1] == s.keys && dv[2] == s.key_heads && dk[3] == s.size,
         "shapes of keys and values");
  expect(s.key_heads > 0 && s.heads % s.key_heads == 0, "query heads in equal groups");
  s.mask = nullptr;
  s.mask_batch = s.mask_head = s.mask_query = s.mask_key = 0;
  if (m.size() == 4) {
    const auto fits = [](int64_t n, int64_t all) { return n == 1 || n == all; };
    expect(fits(m[0], s.batch) && fits(m[1], s.heads) && fits(m[2], s.queries) && fits(m[3], s.keys),
           "shape of the mask");
    s.mask = mask.typed_data();
    s.mask_key = m[3] == 1 ? 0 : 1;
    s.mask_query = m[2] == 1 ? 0 : m[3];
    s.mask_head = m[1] == 1 ? 0 : m[2] * m[3];
    s.mask_batch = m[0] == 1 ? 0 : m[1] * m[2] * m[3];
  }
  return s;
}

int64_t padded(int64_t n) { return (n + loops()->lanes - 1) / loops()->lanes * loops()->lanes; }

// c = a b for rows at constant distances.
struct Multiplier {
  std::vector<ptrdiff_t> a_offset, c_offset;

  Multiplier(int64_t rows, ptrdiff_t a_stride, ptrdiff_t c_stride)
      : a_offset(multiples(rows, a_stride)), c_offset(multiples(rows, c_stride)) {}
  void operator()(const float* a, int64_t rows, int64_t depth, const float* b, int64_t columns, float* c) const {
    multiply_rows(a, a_offset.data(), rows, depth, b, columns, c, c_offset.data(), false);
  }
};

// Hide what the queries of a block must not see, and make the lanes behind the last key vanish.
void hide(const Shapes& s, int64_t b, int64_t head, int64_t first, int64_t rows, int64_t row_floats, float* scores) {
  const float nothing = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < rows; i++) {
    float* row = scores + i * row_floats;
    if (s.mask) {
      const bool* m = s.mask + b * s.mask_batch + head * s.mask_head + (first + i) * s.mask_query;
      for (int64_t j = 0; j < s.keys; j++)
        if (!m[j * s.mask_key]) row[j] = kUnseen;
    }
    if (s.causal)
      for (int64_t j = first + i + 1; j < s.keys; j++) row[j] = kUnseen;
    for (int64_t j = s.keys; j < row_floats; j++) row[j] = nothing;
  }
}

// No gradient flows to a hidden product, not even where all are hidden and share the weight.
void forget_hidden(const Shapes& s, int64_t b, int64_t head, int64_t first, int64_t rows, int64_t row_floats,
                   float* gradient) {
  for (int64_t i = 0; i < rows; i++) {
    float* row = gradient + i * row_floats;
    if (s.mask) {
      const bool* m = s.mask + b * s.mask_batch + head * s.mask_head + (first + i) * s.mask_query;
      for (int64_t j = 0; j < s.keys; j++)
        if (!m[j * s.mask_key]) row[j] = 0;
    }
    if (s.causal)
      for (int64_t j = first + i + 1; j < s.keys; j++) row[j] = 0;
  }
}

int64_t queries_in_block(const Shapes& s) {
  return std::max<int64_t>(1, std::min({kMostQueries, s.queries, kBlockFloats / padded(s.keys)}));
}

ffi::Error attention(ffi::ThreadPool pool, Floats q, Floats k, Floats v, Bools mask, FloatResult y,
                     FloatResult stats, int64_t causal, float scale) {
  return guarded("attention", [&] {
    const Shapes s = shapes(q, k, v, mask, causal);
    expect(y->element_count() == static_cast<size_t>(s.batch * s.queries * s.heads * s.value_size) &&
               stats->element_count() == static_cast<size_t>(2 * s.batch * s.heads * s.queries) &&
               s.keys > 0,
           "shapes of the results");
    const int64_t row_floats = padded(s.keys), block = queries_in_block(s);
    const int64_t k_floats = packed_floats(s.size, s.keys), v_floats = packed_floats(s.keys, s.value_size);
    const int64_t floats = aligned_floats(k_floats) + aligned_floats(v_floats) + aligned_floats(block * row_floats);
    const int64_t workers = threads(pool);
    const Multiplier product(block, s.heads * s.size, row_floats);
    const Multiplier values(block, row_floats, s.heads * s.value_size);
    Scratch scratch(workers * floats);
    parallel(pool, s.batch * s.key_heads, workers, [&](int64_t item, int64_t worker) {
      const int64_t b = item / s.key_heads, key_head = item % s.key_heads;
      float* packed_k = scratch.get() + worker * floats;
      float* packed_v = packed_k + aligned_floats(k_floats);
      float* scores = packed_v + aligned_floats(v_floats);
      pack_matrix(k.typed_data() + s.key_at(b, key_head), 1, s.key_heads * s.size, s.size, s.keys, packed_k);
      loops()->scale(k_floats, scale, packed_k);
      pack_matrix(v.typed_data() + s.value_at(b, key_head), s.key_heads * s.value_size, 1, s.keys, s.value_size, packed_v);
      for (int64_t head = key_head * s.group(); head < (key_head + 1) * s.group(); head++)
        for (int64_t first = 0; first < s.queries; first += block) {
          const int64_t rows = std::min(block, s.queries - first);
          product(q.typed_data() + s.query_at(b, first, head), rows, s.size, packed_k, s.keys, scores);
          hide(s, b, head, first, rows, row_floats, scores);
          float* row_stats = stats->typed_data() + s.stats_at(b, head, first);
          for (int64_t i = 0; i < rows; i++) loops()->softmax(row_floats, scores + i * row_floats, row_stats + 2 * i);
          float* result = y->typed_data() + s.result_at(b, first, head);
          values(scores, rows, s.keys, packed_v, s.value_size, result);
          for (int64_t i = 0; i < rows; i++)
            loops()->scale(s.value_size, row_stats[2 * i + 1], result + i * s.heads * s.value_size);
        }
    });
  });
}

ffi::Error attention_gradient(ffi::ThreadPool pool, Floats q, Floats k, Floats v, Bools mask, Floats stats,
                              Floats dy, FloatResult dq, FloatResult dk, FloatResult dv, int64_t causal,
                              float scale) {
  return guarded("attention_gradient", [&] {
    const Shapes s = shapes(q, k, v, mask, causal);
    expect(dy.element_count() == static_cast<size_t>(s.batch * s.queries * s.heads * s.value_size) &&
               stats.element_count() == static_cast<size_t>(2 * s.batch * s.heads * s.queries) &&
               dq->element_count() == q.element_count() &&
               dk->element_count() == k.element_count() &&
               dv->element_count() == v.element_count() && s.keys > 0,
           "shapes of the results");
    const int64_t row_floats = padded(s.keys), block = queries_in_block(s);
    const int64_t kt_floats = aligned_floats(packed_floats(s.size, s.keys));
    const int64_t vt_floats = aligned_floats(packed_floats(s.value_size, s.keys));
    const int64_t k_floats = aligned_floats(packed_floats(s.keys, s.size));
    const int64_t block_floats = aligned_floats(block * row_floats);
    const int64_t floats =
        kt_floats + vt_floats + k_floats + 2 * block_floats + aligned_floats(loops()->outer_scratch(1, s.keys));
    const int64_t workers = threads(pool);
    const ptrdiff_t q_stride = s.heads * s.size, y_stride = s.heads * s.value_size;
    const ptrdiff_t k_stride = s.key_heads * s.size, v_stride = s.key_heads * s.value_size;
    const Multiplier product(block, q_stride, row_floats), back(block, y_stride, row_floats);
    const Multiplier to_queries(block, row_floats, q_stride);
    Scratch scratch(workers * floats);
    parallel(pool, s.batch * s.key_heads, workers, [&](int64_t item, int64_t worker) {
      const int64_t b = item / s.key_heads, key_head = item % s.key_heads;
      float* packed_kt = scratch.get() + worker * floats;
      float* packed_vt = packed_kt + kt_floats;
      float* packed_k = packed_vt + vt_floats;
      float* p = packed_k + k_floats;
      float* dp = p + block_floats;
      float* outer_scratch = dp + block_floats;
      const float* keys = k.typed_data() + s.key_at(b, key_head);
      pack_matrix(keys, 1, k_stride, s.size, s.keys, packed_kt);
      loops()->scale(packed_floats(s.size, s.keys), scale, packed_kt);
      pack_matrix(v.typed_data() + s.value_at(b, key_head), 1, v_stride, s.value_size, s.keys, packed_vt);
      pack_matrix(keys, k_stride, 1, s.keys, s.size, packed_k);
      float* key_sums = dk->typed_data() + s.key_at(b, key_head);
      float* value_sums = dv->typed_data() + s.value_at(b, key_head);
      for (int64_t j = 0; j < s.keys; j++) {
        std::memset(key_sums + j * k_stride, 0, s.size * sizeof(float));
        std::memset(value_sums + j * v_stride, 0, s.value_size * sizeof(float));
      }
      for (int64_t head = key_head * s.group(); head < (key_head + 1) * s.group(); head++)
        for (int64_t first = 0; first < s.queries; first += block) {
          const int64_t rows = std::min(block, s.queries - first);
          const float* queries = q.typed_data() + s.query_at(b, first, head);
          const float* gradient = dy.typed_data() + s.result_at(b, first, head);
          const float* row_stats = stats.typed_data() + s.stats_at(b, head, first);
          product(queries, rows, s.size, packed_kt, s.keys, p);
          hide(s, b, head, first, rows, row_floats, p);
          back(gradient, rows, s.value_size, packed_vt, s.keys, dp);
          for (int64_t i = 0; i < rows; i++) {
            loops()->softmax_again(row_floats, p + i * row_floats, row_stats + 2 * i);
            for (int64_t j = s.keys; j < row_floats; j++) dp[i * row_floats + j] = 0;
          }
          add_outer(p, to_queries.a_offset.data(), rows, s.keys, gradient, y_stride, s.value_size, value_sums,
                    v_stride, nullptr, outer_scratch);
          for (int64_t i = 0; i < rows; i++)
            loops()->softmax_gradient(row_floats, scale, p + i * row_floats, dp + i * row_floats);
          if (s.mask || s.causal) forget_hidden(s, b, head, first, rows, row_floats, dp);
          to_queries(dp, rows, s.keys, packed_k, s.size, dq->typed_data() + s.query_at(b, first, head));
          add_outer(dp, to_queries.a_offset.data(), rows, s.keys, queries, q_stride, s.size, key_sums, k_stride,
                    nullptr, outer_scratch);
        }
    });
  });
}

}  // namespace
}  // namespace fitloom

#pragma GCC visibility push(default)

#define BINDING ::xla::ffi::Ffi::Bind().Ctx<::xla::ffi::ThreadPool>()
#define IN Arg<::fitloom::Floats>()
#define MASK Arg<::fitloom::Bools>()
#define OUT Ret<::fitloom::Floats>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_attention, ::fitloom::attention,
                              BINDING.IN.IN.IN.MASK.OUT.OUT.Attr<int64_t>("causal").Attr<float>("scale"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(fitloom_attention_gradient, ::fitloom::attention_gradient,
                              BINDING.IN.IN.IN.MASK.IN.IN.OUT.OUT.OUT.Attr<int64_t>("causal").Attr<float>(
                                  "scale"));

#pragma GCC visibility pop
