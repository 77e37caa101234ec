# SPDX-License-Identifier: Apache-2.0
"""Record what TensorFlow gives for cases.py: `python tests/ops/make_golden.py` in an environment that has it.

golden/tensorflow.json: per case the results [(dtype, shape, values)] and the gradients of sum(real results * w),
w = 1, 2, 3, ... over 10 in row-major order, by each float input; null where TensorFlow gives None, absent where the case raised.
"""
import json
import pathlib

import numpy as np
import tensorflow as tf
from cases import CASES


def flatten(value):
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, (list, tuple)):
        return [v for item in value for v in flatten(item)]
    return []


def packed(array):
    array = np.asarray(array)
    if array.dtype.kind == "S":
        array = array.astype(object)
    if array.dtype == object:
        values = [v.decode() for v in array.ravel()]
    elif array.dtype.kind == "c":
        values = [[float(f"{v.real:.8g}"), float(f"{v.imag:.8g}")] for v in array.ravel()]
    elif array.dtype.kind == "f":
        values = [float(f"{v:.8g}") for v in array.ravel().astype(np.float64)]
    else:
        values = array.ravel().tolist()
    return [array.dtype.name if array.dtype != object else "string", list(array.shape), values]


def run(name, args, kwargs):
    function = tf
    for part in name.split("."):
        function = getattr(function, part)
    tensors = []

    def convert(value):
        if isinstance(value, np.ndarray):
            made = tf.constant(value)
            tensors.append(made)
            return made
        if isinstance(value, list) and any(isinstance(v, np.ndarray) for v in value):
            return [convert(v) for v in value]
        return value
    arguments = [convert(a) for a in args]
    named = {k: convert(v) for k, v in kwargs.items()}
    sources = [t for t in tensors if t.dtype == tf.float32]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        results = [r for r in tf.nest.flatten(function(*arguments, **named)) if r is not None]
        results = [tf.convert_to_tensor(r) for r in results]
        total = tf.constant(0.0)
        for r in results:
            if r.dtype == tf.float32:
                w = tf.reshape(tf.range(1, tf.size(r) + 1, dtype=tf.float32) / 10, tf.shape(r))
                total += tf.reduce_sum(r * w)
    try:
        gradients = tape.gradient(total, sources) if sources else []
    except LookupError:  # TensorFlow has no gradient for this operation
        return {"results": [packed(r.numpy()) for r in results], "gradients": []}
    return {"results": [packed(r.numpy()) for r in results],
            "gradients": [None if g is None else packed(tf.convert_to_tensor(g).numpy()) for g in gradients]}


def main():
    golden = {}
    for number, (name, args, kwargs) in enumerate(CASES):
        try:
            golden[f"{number} {name}"] = run(name, args, kwargs)
        except Exception as error:  # a case TensorFlow refuses is a mistake in the table
            print("FAILED", number, name, type(error).__name__, str(error)[:200])
    path = pathlib.Path(__file__).parent / "golden" / "tensorflow.json"
    path.write_text("{\n" + ",\n".join(f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in golden.items()) + "\n}\n")
    print(len(golden), "cases,", path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
