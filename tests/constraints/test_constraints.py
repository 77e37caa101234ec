# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

import fitloom as tf

constraints = tf.keras.constraints


def test_norms_are_bounded(rng):
    w = (rng.normal(size=(6, 4)) * 3).astype("float32")
    norm = lambda v: np.linalg.norm(v, axis=0)
    assert norm(constraints.MaxNorm(2)(w).numpy()).max() <= 2.0001
    np.testing.assert_allclose(norm(constraints.UnitNorm()(w).numpy()), 1, rtol=1e-5)
    assert (constraints.NonNeg()(w).numpy() == np.maximum(w, 0)).all()
    bounded = norm(constraints.MinMaxNorm(0.5, 1.0)(w).numpy())
    assert bounded.min() >= 0.4999 and bounded.max() <= 1.0001


def test_names_and_round_trip():
    for name in ("max_norm", "MaxNorm", "non_neg", "unit_norm", "min_max_norm"):
        made = constraints.get(name)
        assert constraints.deserialize(constraints.serialize(made)).get_config() == made.get_config()
    with pytest.raises(ValueError, match="Did you mean 'max_norm'"):
        constraints.get("max_nrm")
