# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.utils`: names only."""
from fitloom.keras import keras2 as _keras2
from fitloom.keras.utils import bounding_boxes as bounding_boxes
from fitloom.autodiff import recompute_grad as remat
from fitloom.base.config import (
    disable_interactive_logging as disable_interactive_logging,
    enable_interactive_logging as enable_interactive_logging,
    is_interactive_logging_enabled as is_interactive_logging_enabled,
    standardize_dtype as standardize_dtype,
)
from fitloom.base.named_values import Config as Config
from fitloom.base.registry import (
    custom_object_scope as CustomObjectScope,
    custom_object_scope as custom_object_scope,
    get_custom_objects as get_custom_objects,
    get_registered_name as get_registered_name,
    get_registered_object as get_registered_object,
    register_keras_serializable as register_keras_serializable,
)
from fitloom.base.serialization import (
    deserialize_keras_object as deserialize_keras_object,
    serialize_keras_object as serialize_keras_object,
)
from fitloom.callbacks import Progbar as Progbar
from fitloom.data.arrays import (
    normalize as normalize,
    pad_sequences as pad_sequences,
    split_dataset as split_dataset,
    to_categorical as to_categorical,
)
from fitloom.data.directories import (
    audio_dataset_from_directory as audio_dataset_from_directory,
    image_dataset_from_directory as image_dataset_from_directory,
    text_dataset_from_directory as text_dataset_from_directory,
)
from fitloom.data.pictures import (
    array_to_img as array_to_img,
    img_to_array as img_to_array,
    load_img as load_img,
    save_img as save_img,
)
from fitloom.data.timeseries import timeseries_dataset_from_array as timeseries_dataset_from_array
from fitloom.datasets.download import get_file as get_file
from fitloom.engine import (
    clear_session as clear_session,
    is_keras_tensor as is_keras_tensor,
    set_random_seed as set_random_seed,
)
from fitloom.layers.graph import get_source_inputs as get_source_inputs
from fitloom.models.feature_space import FeatureSpace as FeatureSpace
from fitloom.models.plotting import model_to_dot as model_to_dot, plot_model as plot_model
from fitloom.trainer import (
    PyDataset as PyDataset,
    PyDataset as Sequence,
    check_data as check_data,
    pack_x_y_sample_weight as pack_x_y_sample_weight,
    unpack_x_y_sample_weight as unpack_x_y_sample_weight,
)


def __getattr__(name: str) -> object:
    value = _keras2.older("utils", name)
    if value is None:
        raise AttributeError(f"module 'fitloom.keras.utils' has no attribute {name!r}")
    return value
