# SPDX-License-Identifier: Apache-2.0
"""How it improves: `tf.keras.optimizers`."""
from fitloom.optimizers import schedules as schedules
from fitloom.optimizers.adam import (
    Adam as Adam,
    Adamax as Adamax,
    AdamW as AdamW,
    Lamb as Lamb,
    Nadam as Nadam,
    ScheduleFreeAdamW as ScheduleFreeAdamW,
)
from fitloom.optimizers.adaptive import (
    Adadelta as Adadelta,
    Adafactor as Adafactor,
    Adagrad as Adagrad,
    Ftrl as Ftrl,
    RMSprop as RMSprop,
)
from fitloom.optimizers.gradient_descent import SGD as SGD, Lion as Lion
from fitloom.optimizers.lookup import deserialize as deserialize, get as get, serialize as serialize
from fitloom.optimizers.loss_scale import LossScaleOptimizer as LossScaleOptimizer
from fitloom.optimizers.multi import MultiOptimizer as MultiOptimizer, OptimizerMap as OptimizerMap
from fitloom.optimizers.muon import Muon as Muon
from fitloom.optimizers.optimizer import Optimizer as Optimizer
