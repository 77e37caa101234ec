# SPDX-License-Identifier: Apache-2.0
"""Process-wide settings: `tf.keras.config`, `tf.keras.backend`."""
import os

from fitloom.base import dtypes

_floatx = "float32"
_epsilon = 1e-7
_image_data_format = "channels_last"
_interactive_logging = True
_traceback_filtering = True
_flash_attention = None
_max_epochs = None
_max_steps_per_epoch = None


def floatx() -> str:
    """Return the default float dtype's name ('float32')."""
    return _floatx


def set_floatx(value):
    """Set the default float dtype: 'bfloat16', 'float16', 'float32' or 'float64'."""
    global _floatx
    accepted = ("bfloat16", "float16", "float32", "float64")
    name = dtypes.name_of(value)
    if name not in accepted:
        raise ValueError(f"floatx must be one of {accepted}, but received '{value}'.")
    _floatx = name


def epsilon() -> float:
    """Return the small number that keeps divisions and logarithms finite (1e-7)."""
    return _epsilon


def set_epsilon(value):
    """Set `epsilon()`."""
    global _epsilon
    _epsilon = float(value)


def image_data_format() -> str:
    """Return 'channels_last' or 'channels_first', the default of image layers."""
    return _image_data_format


def set_image_data_format(data_format):
    """Set `image_data_format()`."""
    global _image_data_format
    _image_data_format = standardize_data_format(data_format)


def standardize_data_format(data_format) -> str:
    """Return `data_format`, or the default for None; raise ValueError for anything else."""
    if data_format is None:
        return _image_data_format
    lowered = str(data_format).lower()
    if lowered not in ("channels_last", "channels_first"):
        raise ValueError(
            f"data_format must be 'channels_last' or 'channels_first', but received '{data_format}'.")
    return lowered


def enable_interactive_logging():
    """Show progress on the terminal (the default)."""
    global _interactive_logging
    _interactive_logging = True


def disable_interactive_logging():
    """Log one line an epoch instead of a progress bar."""
    global _interactive_logging
    _interactive_logging = False


def is_interactive_logging_enabled() -> bool:
    """Whether progress bars are drawn."""
    return _interactive_logging


def enable_traceback_filtering():
    """Hide the package's own frames in tracebacks (the default)."""
    global _traceback_filtering
    _traceback_filtering = True


def disable_traceback_filtering():
    """Show whole tracebacks."""
    global _traceback_filtering
    _traceback_filtering = False


def is_traceback_filtering_enabled() -> bool:
    """Whether the package's own frames are hidden."""
    return _traceback_filtering


def enable_flash_attention():
    """Ask for the fused attention kernel where the device has one."""
    global _flash_attention
    _flash_attention = True


def disable_flash_attention():
    """Never use the fused attention kernel."""
    global _flash_attention
    _flash_attention = False


def is_flash_attention_enabled():
    """True, False, or None for "where it pays"."""
    return _flash_attention


def set_max_epochs(max_epochs):
    """Cap the epochs of every `fit` in this process (None: no cap)."""
    global _max_epochs
    _max_epochs = max_epochs


def max_epochs():
    """Return the cap on epochs (also from the environment variable KERAS_MAX_EPOCHS), or None."""
    value = os.environ.get("KERAS_MAX_EPOCHS") if _max_epochs is None else _max_epochs
    return None if value is None else int(value)


def set_max_steps_per_epoch(max_steps_per_epoch):
    """Cap the steps of every epoch in this process (None: no cap)."""
    global _max_steps_per_epoch
    _max_steps_per_epoch = max_steps_per_epoch


def max_steps_per_epoch():
    """Return the cap on steps (also from KERAS_MAX_STEPS_PER_EPOCH), or None."""
    value = os.environ.get("KERAS_MAX_STEPS_PER_EPOCH") if _max_steps_per_epoch is None else _max_steps_per_epoch
    return None if value is None else int(value)


def backend() -> str:
    """Return the name of the engine that runs the work."""
    return "jax"


def set_backend(backend: str) -> None:
    """Take 'jax', which is the engine that runs the work.

    Raises:
        ValueError: another name.
    """
    if backend != "jax":
        raise ValueError(f"keras.config.set_backend expected 'jax', the only engine here, but received {backend!r}.")


def is_nnx_enabled() -> bool:
    """Return False: layers are not modules of Flax."""
    return False


def standardize_dtype(dtype=None) -> str:
    """Return the name of a dtype given as a name, a NumPy or TF dtype; None gives `floatx`."""
    return _floatx if dtype is None else dtypes.name_of(dtype)
