# SPDX-License-Identifier: Apache-2.0
"""Well-known image models (`tf.keras.applications`), loaded on first touch."""
