# SPDX-License-Identifier: Apache-2.0
"""Python code over tensors and Nones as one instruction: what losses and metrics are recorded as."""
from fitloom import engine


class Recorder:
    """Record `body(*arguments, **settings)` as one instruction; arguments may be None, masks travel along.

    Args:
        body: over Tensors (or None in their place).
        name: what errors call it.
    """

    def __init__(self, body, name):
        self.body = body
        self.procedure = engine.Procedure(self._run, name)

    def __call__(self, arguments, settings=()):
        """Record; `settings` is a tuple of (keyword, hashable value)."""
        inputs, present = [], []
        for argument in arguments:
            if argument is None:
                present.append(0)
                continue
            inputs.append(argument)
            mask = engine.get_mask(argument)
            present.append(1 if mask is None else 2)
            if mask is not None:
                inputs.append(mask)
        return self.bind(tuple(present), settings)(inputs)

    def bind(self, present, settings=()):
        """Return what records this combination; `present` is 0 (None), 1 or 2 (with a mask) for each argument."""
        return self.procedure.bind((("present", present), *settings))

    def _run(self, *tensors, present, **settings):
        remaining, arguments = iter(tensors), []
        for kind in present:
            argument = next(remaining) if kind else None
            if kind == 2:
                mask = next(remaining)
                if engine.get_mask(argument) is None:
                    engine.set_mask(argument, mask)
            arguments.append(argument)
        return self.body(*arguments, **settings)


def is_symbolic(*values):
    """Whether one of the values is a KerasTensor of a model under construction."""
    return any(isinstance(v, engine.KerasTensor) for v in values)
