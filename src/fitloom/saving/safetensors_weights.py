# SPDX-License-Identifier: Apache-2.0
"""A model's weights in a safetensors file, named by their places: 'layers/dense_1/kernel'."""
import warnings

import numpy as np

from fitloom import engine
from fitloom.layers import Layer
from fitloom.saving import safetensors_files
from fitloom.saving.tree import places


def names_of(model) -> dict:
    """Return the model's weights by name: the layer's place in the model, then the weight's own name."""
    named: dict = {}
    for place in places(model):
        if not isinstance(place.thing, Layer):
            continue
        for variable in place.thing._own_variables():
            own = variable.name.split(":")[0].split("/")[-1]
            name = f"{place.path}/{own}".lstrip("/")
            count = sum(other == name or other.startswith(f"{name}_") for other in named)
            named[f"{name}_{count}" if name in named else name] = variable
    return named


def save(model, path):
    """Write the weights; the optimizer's state is not part of such a file."""
    safetensors_files.save_file({name: variable.numpy() for name, variable in names_of(model).items()}, path,
                                {"format": "fitloom"})


def load(model, path, skip_mismatch=False):
    """Set the weights, all or nothing.

    Raises:
        ValueError: weights that do not fit, with a table of them; the model is unchanged.
        DataLossError: a damaged file.
    """
    arrays, named = safetensors_files.load_file(path), names_of(model)
    rows = [(name, _brief(arrays.get(name)), _brief(named.get(name))) for name in dict.fromkeys([*named, *arrays])
            if name not in arrays or name not in named or _brief(arrays[name]) != _brief(named[name])]
    if rows:
        width = max(len(name) for name, *_ in rows)
        table = "\n".join(f"  {name:<{width}}  {there:<20}  {here}" for name, there, here in rows[:12])
        more = f"\n  ... and {len(rows) - 12} more" if len(rows) > 12 else ""
        text = f"'{path}' does not fit the model (path, in the file, in the model):\n{table}{more}"
        if not skip_mismatch:
            raise ValueError(text)
        warnings.warn(text, stacklevel=4)
    bad = {name for name, *_ in rows}
    engine.set_host_values([(variable, np.array(arrays[name])) for name, variable in named.items() if name not in bad])


def _brief(value):
    if value is None:
        return "-"
    dtype = value.dtype
    return f"{tuple(value.shape)} {getattr(dtype, 'name', dtype)}"
