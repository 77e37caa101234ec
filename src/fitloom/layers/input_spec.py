# SPDX-License-Identifier: Apache-2.0
"""What a layer expects of its inputs: `InputSpec` and the check made at each call."""
from fitloom.base import dtypes, nest


class InputSpec:
    """Rank, dtype and shape that one input of a layer must have.

    Args:
        dtype: expected dtype name.
        shape: expected shape; None dimensions accept anything.
        ndim: exact number of axes.
        max_ndim: most axes accepted.
        min_ndim: fewest axes accepted.
        axes: dict from axis (negative counts from the end) to expected size.
        allow_last_axis_squeeze: accept an input with one axis more or less when that last axis has size 1.
        name: key under which this input comes in a dict of inputs.
        optional: whether None is accepted.
    """

    def __init__(self, dtype=None, shape=None, ndim=None, max_ndim=None, min_ndim=None, axes=None,
                 allow_last_axis_squeeze=False, name=None, optional=False):
        self.dtype = dtypes.name_of(dtype) if dtype is not None else None
        self.shape = tuple(shape) if shape is not None else None
        self.ndim = len(self.shape) if shape is not None else ndim
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.name, self.optional = name, optional
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        try:
            self.axes = {int(axis): size for axis, size in (axes or {}).items()}
        except (TypeError, ValueError, AttributeError):
            raise TypeError(f"axes must be a dict from axis to size, but received {axes}.") from None
        limit = self.ndim if self.ndim is not None else self.max_ndim
        if self.axes and limit is not None and max(self.axes) > limit - 1:
            raise ValueError(f"Axis {max(self.axes)} is greater than the last axis {limit - 1}.")

    def __repr__(self):
        fields = {"dtype": self.dtype, "shape": self.shape, "ndim": self.ndim, "max_ndim": self.max_ndim,
                  "min_ndim": self.min_ndim, "axes": self.axes or None}
        return f"InputSpec({', '.join(f'{k}={v}' for k, v in fields.items() if v is not None)})"

    def get_config(self):
        """Return the constructor's arguments."""
        return {"dtype": self.dtype, "shape": self.shape, "ndim": self.ndim, "max_ndim": self.max_ndim,
                "min_ndim": self.min_ndim, "axes": self.axes, "optional": self.optional}

    @classmethod
    def from_config(cls, config):
        """Make an InputSpec from `get_config`'s dict."""
        return cls(**config)


def assert_input_compatibility(input_spec, inputs, layer_name):
    """Raise ValueError if `inputs` do not fit `input_spec` (an InputSpec or a structure of them).

    Raises:
        ValueError: names the layer, the input, what was expected and what came.
    """
    if not input_spec:
        return
    specs = nest.flatten(input_spec)
    if isinstance(inputs, dict) and all(spec is not None and spec.name for spec in specs):
        missing = [spec.name for spec in specs if spec.name not in inputs]
        if missing:
            raise ValueError(f"Layer '{layer_name}' expects the inputs {[spec.name for spec in specs]}, but "
                             f"received {sorted(inputs)}: '{missing[0]}' is missing.")
        values = [inputs[spec.name] for spec in specs]
    else:
        values = nest.flatten(inputs)
    if len(values) != len(specs):
        raise ValueError(f"Layer '{layer_name}' expects {len(specs)} input(s), but it received {len(values)} input "
                         "tensors.")
    for index, (value, spec) in enumerate(zip(values, specs)):
        if spec is not None:
            _check_one(value, spec, index, layer_name)


def _check_one(value, spec, index, layer_name):
    if value is None and spec.optional:
        return
    if getattr(value, "shape", None) is None:
        raise ValueError(f"Inputs to layer '{layer_name}' should be tensors, but input {index} is {value!r} "
                         f"(of type {type(value).__name__}).")
    shape = tuple(value.shape)
    ndim = len(shape)
    received = f"but received shape {shape}"
    who = f"Input {index} of layer '{layer_name}' is incompatible with the layer:"
    if spec.ndim is not None and ndim != spec.ndim:
        if spec.allow_last_axis_squeeze:
            return      # the model itself adds or drops an axis of size 1, or says why it cannot
        raise ValueError(f"{who} expected ndim={spec.ndim}, found ndim={ndim}. Full shape received: {shape}")
    if spec.max_ndim is not None and ndim > spec.max_ndim:
        raise ValueError(f"{who} expected max_ndim={spec.max_ndim}, found ndim={ndim}")
    if spec.min_ndim is not None and ndim < spec.min_ndim:
        raise ValueError(
            f"{who} expected min_ndim={spec.min_ndim}, found ndim={ndim}. Full shape received: {shape}")
    if spec.dtype is not None and dtypes.name_of(value.dtype) != spec.dtype:
        raise ValueError(f"{who} expected dtype={spec.dtype}, found dtype={dtypes.name_of(value.dtype)}")
    for axis, size in spec.axes.items():
        if size is not None and shape[axis] not in (size, None):
            raise ValueError(f"{who} expected axis {axis} of input shape to have value {size}, {received}")
    if spec.shape is not None:
        for wanted, found in zip(spec.shape, shape):
            if wanted is not None and found is not None and wanted != found:
                raise ValueError(f"{who} expected shape={spec.shape}, found shape={shape}")
