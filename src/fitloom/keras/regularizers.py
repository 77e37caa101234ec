# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.regularizers`."""
from fitloom.regularizers import L1 as L1
from fitloom.regularizers import L1 as l1
from fitloom.regularizers import L1L2 as L1L2
from fitloom.regularizers import L1L2 as l1_l2
from fitloom.regularizers import L2 as L2
from fitloom.regularizers import L2 as l2
from fitloom.regularizers import OrthogonalRegularizer as OrthogonalRegularizer
from fitloom.regularizers import OrthogonalRegularizer as orthogonal_regularizer
from fitloom.regularizers import Regularizer as Regularizer
from fitloom.regularizers import deserialize as deserialize
from fitloom.regularizers import get as get
from fitloom.regularizers import serialize as serialize
