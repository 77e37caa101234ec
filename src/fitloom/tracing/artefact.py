# SPDX-License-Identifier: Apache-2.0
"""Run an exported model with JAX and NumPy alone: this file is copied into the folder, and imports nothing else.

    import run                                   # with the folder on sys.path
    functions = run.load("folder")               # name -> function of arrays
    outputs = functions["serve"](batch)

A folder holds manifest.json (what the functions take and return), variables/variables.index (a safetensors file),
and one StableHLO program a function, serialized by jax.export.
"""
import json
import os

import numpy as np

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
           "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
           "BOOL": "bool"}


def weights_of(folder):
    """Return the arrays of a folder's weights by name."""
    import ml_dtypes
    with open(os.path.join(folder, "variables", "variables.index"), "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        table = json.loads(file.read(length))
        content = file.read()
    table.pop("__metadata__", None)
    arrays = {}
    for name, entry in table.items():
        kind = _DTYPES[entry["dtype"]]
        begin, end = entry["data_offsets"]
        dtype = np.dtype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
        arrays[name] = np.frombuffer(content[begin:end], dtype).reshape(entry["shape"])
    return arrays


class Program:
    """One exported function of (weights..., inputs...), all in flat lists."""

    def __init__(self, content):
        import jax
        jax.config.update("jax_enable_x64", True)
        from jax import export
        self.exported = export.deserialize(bytearray(content))

    def __call__(self, weights, inputs):
        """Return the outputs as a flat list of arrays, after them the new values of weights that were assigned."""
        wanted = self.exported.in_avals[len(weights):]
        arrays = [np.asarray(value).astype(aval.dtype) if not hasattr(value, "aval") else value
                  for value, aval in zip(inputs, wanted, strict=True)]
        return list(self.exported.call(list(weights), arrays))


def load(folder):
    """Return the folder's functions by name; each takes arrays and returns one array or a list of them."""
    with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    weights, functions = weights_of(folder), {}
    for name, entry in manifest["signatures"].items():
        with open(os.path.join(folder, os.path.basename(entry["file"])), "rb") as file:
            program = Program(file.read())
        given = [weights["values/" + key] for key in entry["variables"]]

        def run(*inputs, program=program, given=given, count=entry["outputs"]):
            found = [np.asarray(value) for value in program(given, inputs)[:count]]
            return found[0] if count == 1 else found
        functions[name] = run
    return functions
