"""Single columns, encoders fitted to them, and settings that choose one for each."""

from __future__ import annotations

import numpy as np

from shoal.encode.column import ColumnSetting, Target
from shoal.encode.encoders import make_encoder

TWO = Target(np.array([0, 1, 1, 0]), ["no", "yes"])


def fitted(spec, kind, values, target=TWO):
    """An encoder of column v, fitted."""
    encoder = make_encoder(spec, ColumnSetting("v", kind, "encode.columns.v", 0))
    encoder.fit(values, target)
    return encoder


def numbers(*values):
    return np.array(values, dtype=np.float64)


def words(*values):
    return np.array(values, dtype=object)


OWN = {
    "scale": {"n": {"encoder": "scale"}},
    "quantile": {"n": {"encoder": "quantile"}},
    "rank": {"n": {"encoder": "rank"}},
    "sequence": {
        "c": {"encoder": "sequence_integer", "alphabet": "uv"},
        "t": {"encoder": "sequence_one_hot", "alphabet": "redblu "},
    },
    "power": {"n": {"_target_": "sklearn.preprocessing.PowerTransformer"}},
    "passthrough": {"n": {"encoder": "passthrough"}},
    "one_hot": {"c": {"encoder": "one_hot"}, "t": {"encoder": "one_hot"}},
    "ordinal": {"c": {"encoder": "ordinal"}},
    "target": {"c": {"encoder": "target"}},
    "sparse": {"t": {"_target_": "sklearn.feature_extraction.text.TfidfVectorizer"}},
    "poly": {"n": {"_target_": "sklearn.preprocessing.PolynomialFeatures", "degree": 3}},
}
