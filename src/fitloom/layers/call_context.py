# SPDX-License-Identifier: Apache-2.0
"""What nested layer calls share: the layers being called, `training`, and other arguments that travel down."""
import threading


class CallContext(threading.local):
    """One a thread. `stack` holds the layers whose calls are open, outermost first."""

    def __init__(self):
        self.stack = []
        self.training = None
        self.shared = {}  # further arguments that a layer registered to be handed down


context = CallContext()


class Structure:
    """A counter that grows whenever a built layer changes in a way that changes what its call computes."""

    __slots__ = ("epoch",)

    def __init__(self):
        self.epoch = 0

    def changed(self, layer):
        """Note that `layer` changed: what was recorded of it and of the layers around it is out of date."""
        self.epoch += 1
        state = layer.__dict__
        state["_version"] = state.get("_version", 0) + 1


STRUCTURE = Structure()
