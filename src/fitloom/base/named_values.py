# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.utils.Config`: settings under names, which can be frozen."""
import json

from fitloom.base import errors


class Config:
    """Values under names, as attributes and as a dict: `config.rate = 0.1`, `config["rate"]`.

    Args:
        **kwargs: the first values.

    Example:
        >>> import fitloom as tf
        >>> config = tf.keras.utils.Config(rate=0.1)
        >>> config.seed = 3
        >>> config.as_dict()
        {'rate': 0.1, 'seed': 3}
    """

    def __init__(self, **kwargs):
        object.__setattr__(self, "_values", dict(kwargs))
        object.__setattr__(self, "_is_frozen", False)

    frozen = property(lambda self: self._is_frozen, doc="Whether changes are refused.")

    def freeze(self):
        """Refuse changes from now on."""
        object.__setattr__(self, "_is_frozen", True)

    def unfreeze(self):
        """Allow changes again."""
        object.__setattr__(self, "_is_frozen", False)

    def _open(self):
        if self._is_frozen:
            raise ValueError("Cannot mutate attribute(s) because the config is frozen. Call unfreeze() first.")
        return self._values

    def as_dict(self):
        """Return the values as a new dict."""
        return dict(self._values)

    def to_json(self):
        """Return the values as JSON."""
        return json.dumps(self._values)

    def keys(self):
        """Return the names."""
        return self._values.keys()

    def values(self):
        """Return the values."""
        return self._values.values()

    def items(self):
        """Return (name, value) pairs."""
        return self._values.items()

    def get(self, keyname, value=None):
        """Return a value, or `value` where there is none."""
        return self._values.get(keyname, value)

    def pop(self, *args):
        """Remove a value and return it: `pop(name)` or `pop(name, default)`."""
        return self._open().pop(*args)

    def update(self, *args, **kwargs):
        """Take values, as `dict.update` does."""
        self._open().update(*args, **kwargs)

    def __setattr__(self, name, value):
        if hasattr(type(self), name):
            raise AttributeError(f"'{name}' is a method of Config; choose another name, or use config['{name}'].")
        self._open()[name] = value

    def __getattr__(self, name):
        if name.startswith("__") or name in ("_values", "_is_frozen"):
            raise AttributeError(name)
        if name in self._values:
            return self._values[name]
        raise AttributeError(f"Unknown attribute: '{name}'.{errors.did_you_mean(name, list(self._values))}")

    def __setitem__(self, key, item):
        self._open()[key] = item

    def __getitem__(self, key):
        return self._values[key]

    def __delitem__(self, key):
        del self._open()[key]

    def __contains__(self, item):
        return item in self._values

    def __iter__(self):
        return iter(sorted(self._values))

    def __len__(self):
        return len(self._values)

    def __repr__(self):
        return f"<Config {self._values}>"
