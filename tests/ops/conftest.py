# SPDX-License-Identifier: Apache-2.0
"""The case table is shared by the suites of this folder (and by make_golden.py, which runs under TensorFlow)."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
