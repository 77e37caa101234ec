# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.constraints`."""
from fitloom.constraints import Constraint as Constraint
from fitloom.constraints import MaxNorm as MaxNorm
from fitloom.constraints import MaxNorm as max_norm
from fitloom.constraints import MaxNorm as maxnorm
from fitloom.constraints import MinMaxNorm as MinMaxNorm
from fitloom.constraints import MinMaxNorm as min_max_norm
from fitloom.constraints import NonNeg as NonNeg
from fitloom.constraints import NonNeg as non_neg
from fitloom.constraints import NonNeg as nonneg
from fitloom.constraints import UnitNorm as UnitNorm
from fitloom.constraints import UnitNorm as unit_norm
from fitloom.constraints import UnitNorm as unitnorm
from fitloom.constraints import deserialize as deserialize
from fitloom.constraints import get as get
from fitloom.constraints import serialize as serialize
