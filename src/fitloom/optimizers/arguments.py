# SPDX-License-Identifier: Apache-2.0
"""What optimizers accept, and what they call their variables."""


def name_of(variable):
    """Return a variable's path, or its name."""
    return getattr(variable, "path", None) or variable.name


def flat_name(variable):
    """Return a variable's path with underscores."""
    return name_of(variable).split(":")[0].replace("/", "_")


def take_older_names(name, kwargs, learning_rate):
    """Return (learning rate, decay) with Keras 2's `lr` and `decay` taken into account; raise for unknown arguments."""
    kwargs.pop("jit_compile", None)     # of TensorFlow 2.11-2.15; every update is compiled
    learning_rate, decay = kwargs.pop("lr", learning_rate), kwargs.pop("decay", None) or 0.0
    if kwargs:
        raise ValueError(f"{name} received unknown arguments: {', '.join(sorted(kwargs))}.")
    if not 0.0 <= decay < float("inf"):
        raise ValueError(f"{name} expected decay to be a finite number >= 0, but received {decay}.")
    return learning_rate, float(decay)


def check_rate(rate):
    """Raise unless a learning rate is finite and not negative."""
    if not 0.0 <= rate < float("inf"):
        raise ValueError(f"The learning rate must be a finite number >= 0, but is {rate}.")


def check_arguments(given):
    """Raise for arguments of `Optimizer` out of range; `given` are the locals of its constructor."""
    if isinstance(given["learning_rate"], (int, float)):
        check_rate(given["learning_rate"])
    clips = {key: given[key] for key in ("clipnorm", "clipvalue", "global_clipnorm") if given[key] is not None}
    if len(clips) > 1:
        raise ValueError(f"Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set. Received: {clips}")
    for key, value in clips.items():
        if value < 0:
            raise ValueError(f"{key} must be >= 0, but is {value}.")
    steps = given["gradient_accumulation_steps"]
    if steps is not None and steps < 2:
        raise ValueError(f"gradient_accumulation_steps must be a whole number >= 2 or None, but is {steps}.")
    if given["use_ema"]:
        if not 0 <= given["ema_momentum"] <= 1:
            raise ValueError(f"ema_momentum must lie in [0, 1], but is {given['ema_momentum']}.")
        every = given["ema_overwrite_frequency"]
        if every and (not isinstance(every, int) or every < 1):
            raise ValueError(f"ema_overwrite_frequency must be a whole number >= 1 or None, but is {every}.")
