# SPDX-License-Identifier: Apache-2.0
"""How a run survives: model files, weights, checkpoints."""
