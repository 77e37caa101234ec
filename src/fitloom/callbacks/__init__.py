# SPDX-License-Identifier: Apache-2.0
"""What listens to the training loop."""
from fitloom.callbacks.backup import BackupAndRestore as BackupAndRestore
from fitloom.callbacks.callback import Callback as Callback
from fitloom.callbacks.callback_list import CallbackList as CallbackList
from fitloom.callbacks.history import History as History
from fitloom.callbacks.logging import CSVLogger as CSVLogger, RemoteMonitor as RemoteMonitor
from fitloom.callbacks.model_checkpoint import ModelCheckpoint as ModelCheckpoint
from fitloom.callbacks.monitoring import (
    EarlyStopping as EarlyStopping,
    MonitorCallback as MonitorCallback,
    ReduceLROnPlateau as ReduceLROnPlateau,
)
from fitloom.callbacks.orbax_checkpoint import OrbaxCheckpoint as OrbaxCheckpoint
from fitloom.callbacks.progress import Progbar as Progbar, ProgbarLogger as ProgbarLogger
from fitloom.callbacks.scheduling import (
    LambdaCallback as LambdaCallback,
    LearningRateScheduler as LearningRateScheduler,
    SwapEMAWeights as SwapEMAWeights,
    TerminateOnNaN as TerminateOnNaN,
)
from fitloom.callbacks.tensorboard import TensorBoard as TensorBoard
