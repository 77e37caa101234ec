# SPDX-License-Identifier: Apache-2.0
"""The native kernels for the CPU: C++ sources, their build, and their binding to XLA."""
