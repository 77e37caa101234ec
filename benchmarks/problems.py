# SPDX-License-Identifier: Apache-2.0
"""All problems by name."""

import importlib

NAMES = (
    "tiny", "mlp", "cnn", "resnet", "lstm", "transformer",
    "recommender", "mobilenet", "seq2seq", "audio", "unet",
)  # fmt: skip
PROBLEMS = {name: importlib.import_module(f"fit_{name}").PROBLEM for name in NAMES}
