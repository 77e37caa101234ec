# SPDX-License-Identifier: Apache-2.0
"""Low-rank adaptation (Hu et al., 2021): a frozen weight and a trained product of two small matrices beside it."""
from fitloom import initializers, ops
from fitloom.layers.builtin_layer import BuiltinLayer


class LowRank(BuiltinLayer):
    """Base of layers whose weight can be adapted: `weight + lora_alpha / lora_rank * (a @ b)`.

    Attributes:
        lora_rank, lora_alpha: inner size of the product and its scale; None where it is not adapted.
        lora_enabled: whether `enable_lora` was called.
    """

    _adapted = "kernel"     # name of the weight
    lora_enabled = False
    lora_rank = lora_alpha = None

    def _keep_lora(self, lora_rank, lora_alpha):
        if lora_rank is not None and (isinstance(lora_rank, bool) or not hasattr(lora_rank, "__index__")
                                      or lora_rank < 0):
            raise ValueError(f"`lora_rank` of {type(self).__name__} must be a positive integer or None. Received: "
                             f"lora_rank={lora_rank!r}")
        self.lora_rank = lora_rank
        self.lora_alpha = lora_rank if lora_alpha is None else lora_alpha

    def _adapt_if_asked(self):
        """Called at the end of `build`."""
        if self.lora_rank:
            self.enable_lora(self.lora_rank, self.lora_alpha)

    def enable_lora(self, rank, lora_alpha=None, a_initializer="he_uniform", b_initializer="zeros"):
        """Freeze the weight and add a trained product of two small matrices to it.

        Args:
            rank: inner size of the product; the matrices are `(*weight.shape[:-1], rank)` and
                `(rank, weight.shape[-1])`, both float32.
            lora_alpha: the product is scaled by `lora_alpha / rank`; `rank` by default.
            a_initializer, b_initializer: of the two matrices; the product starts as zero by default.

        A compiled model must be compiled again: what is trained has changed.

        Raises:
            ValueError: the layer is not built, is adapted already, or its weight has a constraint.
        """
        name = self._adapted
        if getattr(self, f"{name}_constraint", None):
            raise ValueError(f"LoRA is incompatible with constraints: layer '{self.name}' has {name}_constraint="
                             f"{getattr(self, f'{name}_constraint')}. Remove that argument.")
        if name not in self.__dict__ and "_" + name not in self.__dict__:
            raise ValueError(f"Cannot enable lora on a layer that isn't yet built: call layer '{self.name}' on data, "
                             "or build(input_shape), first.")
        if self.lora_enabled:
            raise ValueError(f"lora is already enabled for layer '{self.name}' (rank {self.lora_rank}). This can only "
                             "be done once per layer.")
        if isinstance(rank, bool) or not hasattr(rank, "__index__") or rank <= 0:
            raise ValueError(f"`rank` must be a positive integer. Received: rank={rank!r}")
        state = self.__dict__
        weight = state[name] if name in state else state["_" + name]      # the latter if it is quantized
        regularizer = getattr(self, f"{name}_regularizer", None)
        locked, state["_tracker_locked"] = state["_tracker_locked"], False
        for end, shape, initializer in (("a", (*weight.shape[:-1], rank), a_initializer),
                                        ("b", (rank, weight.shape[-1]), b_initializer)):
            setattr(self, f"lora_{name}_{end}", self.add_weight(
                name=f"lora_{name}_{end}", shape=tuple(int(size) for size in shape), dtype="float32",
                initializer=initializers.get(initializer), regularizer=regularizer))
        state["_tracker_locked"] = locked
        state["_" + name] = weight
        state.pop(name, None)
        weight.trainable = False
        self.lora_rank, self.lora_alpha = rank, rank if lora_alpha is None else lora_alpha
        self.lora_enabled = True

    def _lora_matrices(self):
        return getattr(self, f"lora_{self._adapted}_a"), getattr(self, f"lora_{self._adapted}_b")

    def _merged(self):
        """The weight with the product added, in the dtype in which the weight is read."""
        a, b = self._lora_matrices()
        weight = ops.convert_to_tensor(self.__dict__["_" + self._adapted])
        product = ops.matmul(ops.convert_to_tensor(a), ops.convert_to_tensor(b)) * (self.lora_alpha / self.lora_rank)
        return weight + ops.cast(product, weight.dtype)

    def __getattr__(self, name):
        """The adapted weight is computed where it is read; the frozen one lies under its name with an underscore."""
        adapted, state = self._adapted, self.__dict__
        if name == adapted:
            if "_" + name in state:
                return self._merged()
            raise AttributeError(f"You must build the layer before accessing `{name}` of {type(self).__name__} "
                                 f"'{state.get('name')}'.")
        if name == f"_{adapted}" and adapted in state:
            return state[adapted]
        return object.__getattribute__(self, name)          # raises, with a property's own words

    @property
    def trainable(self):
        """Whether the layer's weights may be trained; an adapted weight stays frozen."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        BuiltinLayer.trainable.__set__(self, value)
        frozen = self.__dict__.get("_" + self._adapted)
        if frozen is not None:
            frozen.trainable = False

    # ---- files hold the merged weight, so that they fit the layer with and without adaptation

    def save_own_variables(self, store):
        """Put the layer's own variables into `store`, the product merged into the weight."""
        if not self.lora_enabled:
            super().save_own_variables(store)
            return
        weight = self.__dict__["_" + self._adapted]
        for index, variable in enumerate(self._stored_variables()):
            store[f"{index}"] = self._merged() if variable is weight else variable

    def load_own_variables(self, store):
        """Set the layer's own variables from `store`; the product is zero afterwards, and goes on being trained."""
        if not self.lora_enabled and not self._is_quantized:
            super().load_own_variables(store)
            return
        variables = self._stored_variables()
        arrays = [store[name] for name in sorted(store.keys(), key=int)]
        if [tuple(array.shape) for array in arrays] != [tuple(variable.shape) for variable in variables]:
            raise ValueError(f"Layer '{self.name}' expected arrays of shapes {[tuple(v.shape) for v in variables]}, "
                             f"but received {[tuple(array.shape) for array in arrays]}.")
        for variable, array in zip(variables, arrays):
            variable.assign(array)
        if self.lora_enabled:
            self._lora_matrices()[1].assign(ops.zeros(self._lora_matrices()[1].shape))

    def _stored_variables(self):
        small = {id(matrix) for matrix in self._lora_matrices()}
        return [variable for variable in self._own_variables() if id(variable) not in small]

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        config = super().get_config()
        config.pop("lora_rank", None)
        config.pop("lora_alpha", None)
        if self.lora_rank:
            config.update(lora_rank=self.lora_rank, lora_alpha=self.lora_alpha)
        return config
