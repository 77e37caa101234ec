# SPDX-License-Identifier: Apache-2.0
"""Random training scripts give the results that TensorFlow gave (random_scripts.py says how they were recorded)."""
import json
import pathlib
import sys

import pytest
from tests.engine import random_scripts

import fitloom as tf

EXPECTED = json.loads(random_scripts.GOLDEN.read_text()) if __name__ != "__main__" else {}


@pytest.mark.parametrize("seed", list(map(int, EXPECTED)))
def test_random_script(seed):
    result = random_scripts.run(tf, seed)
    assert random_scripts.close(result, EXPECTED[str(seed)]), \
        f"{result} is not TensorFlow's {EXPECTED[str(seed)]} for\n{random_scripts.source(seed)}"


if __name__ == "__main__":
    expected, wrong = json.loads(pathlib.Path(sys.argv[1]).read_text()), []
    for number in expected if len(sys.argv) < 4 else list(expected)[int(sys.argv[2]):int(sys.argv[3])]:
        try:
            right = random_scripts.close(random_scripts.run(tf, int(number)), expected[number])
        except Exception as error:
            print(number, repr(error)[:300], flush=True)
            right = False
        if not right:
            wrong.append(int(number))
            print("differs:", number, flush=True)
    print(len(expected), "scripts,", len(wrong), "differ:", wrong)
