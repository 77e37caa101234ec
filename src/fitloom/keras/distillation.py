# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.distillation`."""
from fitloom.models.distillation import DistillationLoss as DistillationLoss
from fitloom.models.distillation import Distiller as Distiller
from fitloom.models.distillation import FeatureDistillation as FeatureDistillation
from fitloom.models.distillation import LogitsDistillation as LogitsDistillation
