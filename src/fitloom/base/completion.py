# SPDX-License-Identifier: Apache-2.0
"""Objects whose parts come later: a restored checkpoint waits for weights that do not exist yet.

The object itself keeps who is to be told, so that nothing outlives it.
"""
_NAME = "_told_when_completed"
USED: list = []          # not empty once anything waits in this process: whoever sets attributes often looks here first


def wait(thing, told):
    """Call `told(thing)` whenever `thing` has got new parts; the last `told` of an object replaces those before."""
    USED[:] = [True]
    thing.__dict__[_NAME] = told


def stop_waiting(thing):
    """Tell nobody of new parts of `thing` any more."""
    thing.__dict__.pop(_NAME, None)


def completed(thing):
    """Say that `thing` has new parts: it was built, or one of its attributes was set."""
    if USED:
        told = thing.__dict__.get(_NAME)
        if told is not None:
            told(thing)
