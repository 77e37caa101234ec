# SPDX-License-Identifier: Apache-2.0
"""`tf.sparse`: tensors that are mostly zero. Names only."""

from fitloom.ops.sparse import (
    SparseTensor as SparseTensor,
    sparse_add as add,
    sparse_cast as cast,
    sparse_concat as concat,
    sparse_eye as eye,
    sparse_fill_empty_rows as fill_empty_rows,
    from_dense as from_dense,
    sparse_maximum as maximum,
    sparse_minimum as minimum,
    sparse_reduce_max as reduce_max,
    sparse_reduce_sum as reduce_sum,
    sparse_reorder as reorder,
    sparse_reset_shape as reset_shape,
    sparse_reshape as reshape,
    sparse_retain as retain,
    sparse_slice as slice,
    sparse_softmax as softmax,
    sparse_split as split,
    sparse_dense_matmul as sparse_dense_matmul,
    to_dense as to_dense,
    sparse_to_indicator as to_indicator,
    sparse_transpose as transpose,
    map_values as map_values,
    sparse_expand_dims as expand_dims,
)
from fitloom.ops.sparse_counts import (
    bincount as bincount,
    cross as cross,
    cross_hashed as cross_hashed,
    segment_mean as segment_mean,
    segment_sqrt_n as segment_sqrt_n,
    segment_sum as segment_sum,
)
