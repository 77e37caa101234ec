# SPDX-License-Identifier: Apache-2.0
"""How close does the undecorated tape loop come to the hand-written JAX step: the workload "mlp"?"""
from tape_loop import main

if __name__ == "__main__":
    main("mlp")
