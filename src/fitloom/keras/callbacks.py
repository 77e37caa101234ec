# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.callbacks`: names only."""
from fitloom.keras import keras2 as _keras2
from fitloom.callbacks import (
    BackupAndRestore as BackupAndRestore,
    Callback as Callback,
    CallbackList as CallbackList,
    CSVLogger as CSVLogger,
    EarlyStopping as EarlyStopping,
    History as History,
    LambdaCallback as LambdaCallback,
    LearningRateScheduler as LearningRateScheduler,
    ModelCheckpoint as ModelCheckpoint,
    MonitorCallback as MonitorCallback,
    OrbaxCheckpoint as OrbaxCheckpoint,
    ProgbarLogger as ProgbarLogger,
    ReduceLROnPlateau as ReduceLROnPlateau,
    RemoteMonitor as RemoteMonitor,
    SwapEMAWeights as SwapEMAWeights,
    TensorBoard as TensorBoard,
    TerminateOnNaN as TerminateOnNaN,
)


def __getattr__(name: str) -> object:
    value = _keras2.older("callbacks", name)
    if value is None:
        raise AttributeError(f"module 'fitloom.keras.callbacks' has no attribute {name!r}")
    return value
