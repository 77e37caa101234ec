# SPDX-License-Identifier: Apache-2.0
"""Many variables get values from the host at once, as when a file is loaded: nothing is recorded, nothing compiled."""
import numpy as np

from fitloom.engine.context import CONTEXT, LOCK, SETTINGS, traces_of_other_threads


def set_host_values(pairs):
    """Set variables to NumPy arrays of their shapes and dtypes, which nobody else may hold.

    Assignments in a loop are recorded, and a program of them is compiled: seconds for hundreds of shapes.

    Args:
        pairs: list of (variable, array).
    """
    with LOCK:
        trace = CONTEXT.trace
        if trace.inline or SETTINGS.eager or CONTEXT.eager or traces_of_other_threads() or (
                not trace.closed and trace.live_tapes()):
            for variable, array in pairs:       # somebody may still read the old values
                variable.assign(array)
            return
        if not trace.closed:
            trace.flush()
        flat: dict = {}
        for variable, array in pairs:
            store = variable.store
            if store.writer is not None:
                store.writer.flush()
            if store.layout is None:
                store.value = array if store.sharding is None else store.placed(array)
                store.escaped, store._host = False, None
                continue
            if store not in flat:
                flat[store] = np.array(store.current())
            offset, _, size = store.layout[variable.index]
            flat[store][offset:offset + size] = array.ravel()
        for store, value in flat.items():
            store.value = value if store.sharding is None else store.placed(value)
            store.escaped, store._host = False, None
