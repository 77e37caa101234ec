# SPDX-License-Identifier: Apache-2.0
"""How fast is `evaluate` on all the data, in batches of the size that `fit` has?"""

import harness
import learning
from problems import PROBLEMS

if __name__ == "__main__":
    harness.main({name: learning.evaluate(problem) for name, problem in PROBLEMS.items()}, __file__)
