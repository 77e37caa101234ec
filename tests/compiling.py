# SPDX-License-Identifier: Apache-2.0
"""How the tests have XLA compile: most of the suite's time would otherwise be XLA optimizing programs that run once."""

CHEAPLY = ("--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0 "
           "--xla_cpu_parallel_codegen_split_count=1")
