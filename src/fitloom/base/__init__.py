# SPDX-License-Identifier: Apache-2.0
"""Errors, dtypes, shapes, nested structures, configuration, names and the registry."""
