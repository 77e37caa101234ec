# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.optimizers`: names only. `legacy` holds the same classes under TensorFlow 2's old address."""
import sys as _sys
import types as _types

from fitloom.optimizers import (
    SGD as SGD,
    Adadelta as Adadelta,
    Adafactor as Adafactor,
    Adagrad as Adagrad,
    Adam as Adam,
    Adamax as Adamax,
    AdamW as AdamW,
    Ftrl as Ftrl,
    Lamb as Lamb,
    Lion as Lion,
    LossScaleOptimizer as LossScaleOptimizer,
    MultiOptimizer as MultiOptimizer,
    Muon as Muon,
    Nadam as Nadam,
    Optimizer as Optimizer,
    OptimizerMap as OptimizerMap,
    RMSprop as RMSprop,
    ScheduleFreeAdamW as ScheduleFreeAdamW,
    deserialize as deserialize,
    get as get,
    schedules as schedules,
    serialize as serialize,
)


def _module(name, **contents):
    """Return a module that `import` finds under `fitloom.keras.optimizers.<name>`."""
    module = _types.ModuleType(f"{__name__}.{name}", contents.pop("doc"))
    module.__dict__.update(contents)
    _sys.modules[module.__name__] = module
    return module


legacy = _module(
    "legacy", doc="The optimizers under the address that TensorFlow 2.11-2.15 used; the same classes.",
    Adadelta=Adadelta, Adagrad=Adagrad, Adam=Adam, Adamax=Adamax, Ftrl=Ftrl, Nadam=Nadam, Optimizer=Optimizer,
    RMSprop=RMSprop, SGD=SGD)
experimental = _module(
    "experimental", doc="The optimizers under the address that TensorFlow 2.9-2.10 used; the same classes.",
    **{k: v for k, v in vars(legacy).items() if isinstance(v, type)}, AdamW=AdamW)
# Keras 2's names of the classes in small letters
adadelta, adagrad, adam, adamax, nadam, rmsprop, sgd = Adadelta, Adagrad, Adam, Adamax, Nadam, RMSprop, SGD
__path__: list = []   # a package for `import`: `from fitloom.keras.optimizers.schedules import X`
_sys.modules[f"{__name__}.schedules"] = schedules
