# SPDX-License-Identifier: Apache-2.0
"""Results, dtypes and gradients of the op table against TensorFlow's, recorded in golden/tensorflow.json."""
import json
import pathlib

import numpy as np
import pytest
from cases import CASES

import fitloom as tf

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "tensorflow.json").read_text())
KEYS = [f"{number} {name}" for number, (name, _, _) in enumerate(CASES)]
RELATIVE, ABSOLUTE = 2e-5, 2e-6
# Decompositions and special functions lose more; TensorFlow's bicubic weights come from a table of 1024 entries.
LOOSE = {"linalg.svd": 1e-4, "linalg.expm": 1e-4, "linalg.sqrtm": 1e-3, "linalg.eigvalsh": 1e-4, "linalg.lstsq": 1e-3,
         "linalg.pinv": 1e-4, "math.betainc": 1e-4, "math.igamma": 1e-4, "math.zeta": 1e-4, "math.polygamma": 1e-4,
         "image.ssim": 1e-4, "image.resize": 1e-3, "linalg.normalize": 1e-4, "image.adjust_hue": 1e-4,
         "image.adjust_saturation": 1e-4, "math.digamma": 1e-4, "nn.local_response_normalization": 1e-4, "signal.stft": 1e-4}
# Where the gradient is deliberately other than TensorFlow's, and why.
GRADIENT_DIFFERS = {
    "math.bessel_i1": "TensorFlow's derivative at 0 is 1; the function's is 1/2",
    "math.zeta": "TensorFlow has none",
    "nn.weighted_cross_entropy_with_logits": "TensorFlow's derivative at a logit of 0 is not the function's",
    "image.hsv_to_rgb": "TensorFlow has none",
    "image.rgb_to_hsv": "TensorFlow leaves the minimum out where it is 0",
    "linalg.eigvalsh": "TensorFlow puts all of it on the lower triangle",
}


def find(name):
    function = tf
    for part in name.split("."):
        function = getattr(function, part)
    return function


def convert(value, tensors):
    if isinstance(value, np.ndarray):
        made = tf.constant(value)
        tensors.append(made)
        return made
    if isinstance(value, list) and any(isinstance(v, np.ndarray) for v in value):
        return [convert(v, tensors) for v in value]
    return value


def call(number, wrap=lambda f: f):
    """Return (results, gradients of their weighted sum by the float32 inputs)."""
    name, args, kwargs = CASES[number]
    tensors = []
    arguments = [convert(a, tensors) for a in args]
    named = {k: convert(v, tensors) for k, v in kwargs.items()}

    def run(*inputs):
        inputs = iter(inputs)

        def fill(value):
            if isinstance(value, list):
                return [fill(v) for v in value]
            return next(inputs) if isinstance(value, tf.Tensor) else value
        results = find(name)(*[fill(a) for a in arguments], **{k: fill(v) for k, v in named.items()})
        return [tf.convert_to_tensor(r) for r in tf.nest.flatten(results) if r is not None]

    sources = [t for t in tensors if t.dtype == tf.float32]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        results = wrap(run)(*tensors)
        total = tf.constant(0.0)
        for r in results:
            if r.dtype == tf.float32:
                total += tf.reduce_sum(r * np.arange(1, r.shape.num_elements() + 1, dtype=np.float32).reshape(r.shape) / 10)
    return results, tape.gradient(total, sources) if sources and GOLDEN[KEYS[number]]["gradients"] else []


def unpacked(entry):
    dtype, shape, values = entry
    if dtype == "string":
        array = np.empty(len(values), object)
        array[:] = [v.encode() for v in values]
        return array.reshape(shape)
    if dtype.startswith("complex"):
        return np.asarray([complex(*v) for v in values], dtype).reshape(shape)
    return np.asarray(values, dtype).reshape(shape)


def compare(got, wanted, name, what):
    got, wanted = np.asarray(got), unpacked(wanted)
    assert got.dtype == wanted.dtype, f"{what}: dtype {got.dtype}, TensorFlow {wanted.dtype}"
    assert got.shape == wanted.shape, f"{what}: shape {got.shape}, TensorFlow {wanted.shape}"
    if wanted.dtype.kind in "fc":
        scale = np.max(np.abs(wanted[np.isfinite(wanted)]), initial=1.0)
        np.testing.assert_allclose(got, wanted, rtol=LOOSE.get(name, RELATIVE), atol=LOOSE.get(name, ABSOLUTE) * scale,
                                   err_msg=what)
    else:
        np.testing.assert_array_equal(got, wanted, err_msg=what)


def check(key, results, gradients):
    name, golden = key.split()[1], GOLDEN[key]
    assert len(results) == len(golden["results"])
    for position, (got, wanted) in enumerate(zip(results, golden["results"], strict=True)):
        compare(got, wanted, name, f"result {position}")
    if name in GRADIENT_DIFFERS:
        return
    for position, (got, wanted) in enumerate(zip(gradients, golden["gradients"], strict=True)):
        if wanted is None or got is None:  # None and zeros mean the same to an optimizer that skips None
            assert got is None or not np.any(np.asarray(got)), f"gradient {position}: TensorFlow gives None"
            assert wanted is None or not np.any(unpacked(wanted)), f"gradient {position}: None, TensorFlow {wanted}"
        else:
            compare(got, wanted, name, f"gradient {position}")


@pytest.mark.parametrize("key", KEYS)
def test_result_and_gradient_are_tensorflows(key):
    check(key, *call(int(key.split()[0])))


def test_every_case_was_recorded():
    assert sorted(KEYS) == sorted(GOLDEN)


