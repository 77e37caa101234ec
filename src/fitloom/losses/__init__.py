# SPDX-License-Identifier: Apache-2.0
"""What is wrong: `tf.keras.losses`."""
from fitloom.losses.classes import (
    CTC as CTC,
    BinaryCrossentropy as BinaryCrossentropy,
    BinaryFocalCrossentropy as BinaryFocalCrossentropy,
    CategoricalCrossentropy as CategoricalCrossentropy,
    CategoricalFocalCrossentropy as CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy as CategoricalGeneralizedCrossEntropy,
    CategoricalHinge as CategoricalHinge,
    Circle as Circle,
    CosineSimilarity as CosineSimilarity,
    Dice as Dice,
    Hinge as Hinge,
    Huber as Huber,
    KLDivergence as KLDivergence,
    LogCosh as LogCosh,
    MeanAbsoluteError as MeanAbsoluteError,
    MeanAbsolutePercentageError as MeanAbsolutePercentageError,
    MeanSquaredError as MeanSquaredError,
    MeanSquaredLogarithmicError as MeanSquaredLogarithmicError,
    Poisson as Poisson,
    SparseCategoricalCrossentropy as SparseCategoricalCrossentropy,
    SquaredHinge as SquaredHinge,
    Tversky as Tversky,
)
from fitloom.losses.classification import (
    binary_crossentropy as binary_crossentropy,
    binary_focal_crossentropy as binary_focal_crossentropy,
    categorical_crossentropy as categorical_crossentropy,
    categorical_focal_crossentropy as categorical_focal_crossentropy,
    categorical_generalized_cross_entropy as categorical_generalized_cross_entropy,
    ctc as ctc,
    kl_divergence as kl_divergence,
    sparse_categorical_crossentropy as sparse_categorical_crossentropy,
)
from fitloom.losses.lookup import deserialize as deserialize, get as get, serialize as serialize
from fitloom.losses.loss import Loss as Loss, LossFunctionWrapper as LossFunctionWrapper
from fitloom.losses.overlap import circle as circle, dice as dice, tversky as tversky
from fitloom.losses.reduction import (
    Reduction as Reduction,
    align as align,
    reduce_weighted as reduce_weighted,
    sum_and_count as sum_and_count,
)
from fitloom.losses.regression import (
    categorical_hinge as categorical_hinge,
    cosine_similarity as cosine_similarity,
    hinge as hinge,
    huber as huber,
    log_cosh as log_cosh,
    mean_absolute_error as mean_absolute_error,
    mean_absolute_percentage_error as mean_absolute_percentage_error,
    mean_squared_error as mean_squared_error,
    mean_squared_logarithmic_error as mean_squared_logarithmic_error,
    poisson as poisson,
    squared_hinge as squared_hinge,
)
from fitloom.losses.shapes import check_labels as check_labels, squeeze_or_expand as squeeze_or_expand
