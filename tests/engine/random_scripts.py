# SPDX-License-Identifier: Apache-2.0
"""Random training scripts, and what TensorFlow returned for them.

`source(seed)` writes a small script: variables, constants, functions under tf.function (some with control flow on
tensors), optimizers, and a loop whose body nests tapes, assigns, reads values, branches on them, raises and goes on.
`python tests/engine/random_scripts.py 120` (in an environment with TensorFlow) records the results of seeds 0 to 119 in
`tests/golden/random_scripts.json`; `python tests/engine/random_scripts.py 3000 /tmp/file.json` writes them elsewhere.
`python -m tests.engine.test_random_scripts /tmp/file.json` compares such a file with Fitloom.
"""
import json
import pathlib
import random

import numpy as np

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "random_scripts.json"
MATRIX, VECTOR, SCALAR = "(2, 2)", "(2,)", "()"
UNARY = ["tf.tanh({})", "tf.sigmoid({})", "tf.sin({})", "tf.nn.softplus({})", "tf.nn.relu({} + .1)", "tf.exp(-tf.square({}))",
         "tf.stop_gradient({})", "tf.identity({})", "({} * .5)", "tf.cos({})", "tf.clip_by_value({}, -.9, .8)", "-{}",
         "tf.sqrt(tf.square({}) + .1)", "tf.math.log(tf.square({}) + 1.)", "tf.cast(tf.cast({} * 3., tf.int32), tf.float32)"]
BINARY = ["({} + {})", "({} * {})", "({} - {})", "tf.maximum({}, {})", "({} / (1. + tf.square({})))",
          "tf.where({0} > {1}, {0}, {1} * 2.)", "tf.minimum({}, {} + .05)", "tf.add_n([{}, {}])"]


class Writer:
    """Writes one script."""

    def __init__(self, seed):
        self.r, self.lines, self.count = random.Random(seed), [], 0
        self.names = {MATRIX: [], VECTOR: [], SCALAR: []}

    def say(self, indent, text):
        self.lines.append("    " * indent + text)

    def fresh(self, prefix="h"):
        self.count += 1
        return f"{prefix}{self.count}"

    def maybe(self, chance):
        return self.r.random() < chance

    def number(self):
        return f"{self.r.choice([-1, 1]) * self.r.randint(1, 9) / 10}"

    def expression(self, shape, depth=2):
        """An expression of a shape over the names in view."""
        r, names = self.r, self.names[shape]
        if depth == 0 or (names and self.maybe(.25)):
            if names:
                return r.choice(names)
            return f"tf.fill([{shape.strip('()').strip(',')}], {self.number()})" if shape != SCALAR else \
                f"tf.constant({self.number()})"
        kind = r.random()
        if shape == SCALAR:
            if kind < .5:
                return f"tf.reduce_{r.choice(['sum', 'mean', 'max'])}({self.expression(r.choice([MATRIX, VECTOR]), depth - 1)})"
            if kind < .6:
                return f"{self.expression(VECTOR, 0)}[{r.randint(0, 1)}]"
            if kind < .7:
                return f"tf.linalg.trace({self.expression(MATRIX, depth - 1)})"
        if shape == VECTOR:
            if kind < .2:
                return f"tf.reduce_mean({self.expression(MATRIX, depth - 1)}, {r.randint(0, 1)})"
            if kind < .3:
                return f"{self.expression(MATRIX, 0)}[{r.randint(0, 1)}]"
            if kind < .4:
                return f"tf.linalg.matvec({self.expression(MATRIX, 0)}, {self.expression(VECTOR, 0)})"
            if kind < .45:
                return f"tf.gather({self.expression(VECTOR, 0)}, [{r.randint(0, 1)}, {r.randint(0, 1)}])"
        if shape == MATRIX:
            if kind < .25:
                return f"({self.expression(MATRIX, depth - 1)} @ {self.expression(MATRIX, 0)} * .7)"
            if kind < .35:
                return f"({self.expression(MATRIX, 0)} + {self.expression(VECTOR, depth - 1)})"
            if kind < .4:
                return f"tf.transpose({self.expression(MATRIX, depth - 1)})"
            if kind < .45:
                return f"tf.stack([{self.expression(VECTOR, 0)}, {self.expression(VECTOR, 0)}], {r.randint(0, 1)})"
            if kind < .5:
                return f"tf.concat([{self.expression(MATRIX, 0)}[:1], {self.expression(MATRIX, 0)}[1:] * 2.], 0)"
            if kind < .55 and self.layers:
                return f"{r.choice(self.layers)}({self.expression(MATRIX, depth - 1)})"
            if kind < .65 and self.functions:
                return f"{r.choice(self.functions)}({self.expression(MATRIX, 0)}, {self.expression(SCALAR, 1)})"
        if self.maybe(.55):
            return r.choice(UNARY).format(self.expression(shape, depth - 1))
        return r.choice(BINARY).format(self.expression(shape, depth - 1), self.expression(shape, 0))

    def bind(self, indent, shape=None, depth=2):
        shape = shape or self.r.choice([MATRIX, MATRIX, VECTOR, SCALAR])
        text, name = self.expression(shape, depth), self.fresh()
        self.say(indent, f"{name} = {text}")
        self.names[shape] = self.names[shape] + [name]
        return name

    # -- parts of a script

    layers: list = []
    functions: list = []

    def setup(self):
        r = self.r
        self.layers, self.functions, self.variables = [], [], {}
        for i in range(r.randint(2, 4)):
            shape = r.choice([MATRIX, MATRIX, VECTOR, SCALAR])
            frozen = ", trainable=False" if self.maybe(.15) else ""
            self.say(0, f"v{i} = tf.Variable(value({i}, {shape}){frozen})")
            self.variables[f"v{i}"] = shape
            self.names[shape] = self.names[shape] + [f"v{i}"]
        if self.maybe(.4):
            self.say(0, f"d0 = dense({r.choice(['None', repr('tanh'), repr('relu')])})")
            self.layers = ["d0"]
        if self.maybe(.3):
            self.say(0, f"c0 = tf.constant(value(8, {MATRIX}))")
            self.names[MATRIX] = self.names[MATRIX] + ["c0"]
        for i in range(r.choice([0, 0, 1, 1, 2])):
            self.function(f"f{i}")
        self.optimizers = []
        for i in range(r.randint(0, 2)):
            rate = r.choice(["SGD(.1)", "SGD(.05, momentum=.9)", "Adam(.05, epsilon=.1)", "RMSprop(.02, epsilon=.1)",
                             "Adagrad(.1)", "SGD(.1, clipnorm=.5)", "Adam(.05, epsilon=.1, weight_decay=.01)"])
            self.say(0, f"o{i} = tf.keras.optimizers.{rate}")
            everything = list(self.variables) + [f"*{d}.trainable_variables" for d in self.layers]
            self.say(0, f"o{i}.build([{', '.join(everything)}])")
            self.optimizers.append(f"o{i}")
        if self.maybe(.3):
            self.say(0, "metric = tf.keras.metrics.Mean()")
            self.metric = True

    metric = False

    def function(self, name):
        """A tf.function of (matrix, scalar), some with control flow on tensors and assignments."""
        before, r = self.names, self.r
        layers, self.layers = self.layers, self.layers
        self.names = {k: list(v) for k, v in before.items()}
        self.say(0, "@tf.function")
        self.say(0, f"def {name}(a, s):")
        self.names[MATRIX] += ["a"]
        self.names[SCALAR] += ["s"]
        for _ in range(r.randint(0, 2)):
            self.bind(1)
        style, condition = r.random(), f"s > {self.number()}"
        if style < .3:
            self.say(1, f"if {condition}:")
            self.say(2, f"y = {self.expression(MATRIX)}")
            self.say(1, "else:")
            self.say(2, f"y = {self.expression(MATRIX)}")
        elif style < .45:
            self.say(1, f"y = {self.expression(MATRIX, 1)}")
            self.say(1, f"for i in tf.range({r.randint(1, 3)}):")
            self.names[MATRIX] += ["y"]
            self.say(2, f"y = tf.tanh({self.expression(MATRIX, 1)} + y)")
        elif style < .6:
            self.say(1, f"if {condition}:")
            self.say(2, f"return {self.expression(MATRIX)}")
            self.say(1, f"y = {self.expression(MATRIX)}")
        elif style < .7:
            self.say(1, f"y = tf.cond({condition}, lambda: {self.expression(MATRIX)}, lambda: {self.expression(MATRIX)})")
        else:
            self.say(1, f"y = {self.expression(MATRIX)}")
        if self.maybe(.25):
            target = r.choice(list(self.variables))
            self.say(1, f"{target}.assign(tf.tanh({self.expression(self.variables[target], 1)}))")
        self.say(1, "return tf.tanh(y)")
        self.names = before
        self.functions = self.functions + [name]

    def assignment(self, indent):
        target = self.r.choice(list(self.variables))
        text = self.expression(self.variables[target], 1)
        self.say(indent, self.r.choice([f"{target}.assign(tf.tanh({text}))", f"{target}.assign_add(.1 * tf.tanh({text}))",
                                        f"{target}.assign_sub(.1 * tf.tanh({text}))", f"{target}.assign({target} * .9)"]))

    def statement(self, indent, tape, depth):
        r, kind = self.r, self.r.random()
        if kind < .45:
            self.bind(indent)
        elif kind < .55:
            self.assignment(indent)
        elif kind < .62:
            self.say(indent, f"out.append(float({self.expression(SCALAR, 1)}))")
        elif kind < .7:
            shape = r.choice([MATRIX, VECTOR])
            name, other = self.fresh(), self.expression(shape, 1)
            self.say(indent, f"{name} = {self.expression(shape, 1)}")
            self.say(indent, f"if {self.expression(SCALAR, 1)} > {self.number()}:")
            self.say(indent + 1, f"{name} = {name} * {self.number()} + {other}")
            self.names[shape] = self.names[shape] + [name]
        elif kind < .75:
            name = self.fresh()
            self.say(indent, f"{name} = {self.expression(MATRIX, 1)}")
            self.say(indent, f"for j in range({r.randint(2, 4)}):")
            self.say(indent + 1, f"{name} = tf.tanh({name} + {self.expression(MATRIX, 1)})")
            self.names[MATRIX] = self.names[MATRIX] + [name]
        elif kind < .8 and tape:
            self.say(indent, f"with {tape}.stop_recording():")
            self.bind(indent + 1)
        elif kind < .85:
            self.say(indent, "try:")
            self.bind(indent + 1, depth=1)
            self.say(indent + 1, r.choice(["raise KeyError", "tf.ones([2, 3]) @ tf.ones([2, 3])",
                                           "tf.reshape(tf.ones([2, 3]), [4])"]))
            self.say(indent, "except Exception:")
            self.say(indent + 1, "out.append(1.)")
        elif depth:
            self.tape(indent, depth - 1)
        else:
            self.bind(indent)

    def sources(self):
        r = self.r
        chosen = [v for v in self.variables if self.maybe(.7)] or [r.choice(list(self.variables))]
        if self.layers and self.maybe(.6):
            chosen += [f"*{d}.trainable_variables" for d in self.layers]
        return chosen

    def tape(self, indent, depth):
        """A tape with a body; its gradients become names."""
        r, name = self.r, self.fresh("t")
        options = []
        persistent = self.maybe(.3)
        if persistent:
            options.append("persistent=True")
        automatic = not self.maybe(.12)
        if not automatic:
            options.append("watch_accessed_variables=False")
        self.say(indent, f"with tf.GradientTape({', '.join(options)}) as {name}:")
        watched = []
        if self.maybe(.3) or not automatic:
            watched = [n for n in r.sample(self.names[MATRIX], 1) if n not in self.variables and n != "c0"]
            for each in watched + ([] if automatic else [r.choice(list(self.variables))]):
                self.say(indent + 1, f"{name}.watch({each})")
        for _ in range(r.randint(1, 3)):
            self.statement(indent + 1, name, depth)
        loss = self.fresh("l")
        self.say(indent + 1, f"{loss} = {self.expression(SCALAR, 3)} + tf.reduce_sum({self.expression(MATRIX, 2)})")
        self.names[SCALAR] = self.names[SCALAR] + [loss]
        if self.maybe(.15):
            self.assignment(indent)
        for _ in range(2 if persistent and self.maybe(.6) else 1):
            shape = r.choice([MATRIX, SCALAR])
            target = r.choice([loss, loss, self.expression(shape, 0)])
            sources, grads = self.sources() + [w for w in watched if self.maybe(.7)], self.fresh("g")
            self.say(indent, f"{grads} = {name}.gradient({target}, [{', '.join(sources)}])")
            self.say(indent, f"{grads} = [None if g is None else tf.convert_to_tensor(g) for g in {grads}]")
            self.say(indent, f"out.append([0. if g is None else tf.reduce_sum(g) for g in {grads}])")
            if sources[0] in self.variables and self.maybe(.5):
                shape, value = self.variables[sources[0]], self.fresh()
                self.say(indent, f"{value} = tf.zeros({shape}) if {grads}[0] is None else tf.tanh({grads}[0])")
                self.names[shape] = self.names[shape] + [value]
            if persistent and self.maybe(.3):
                self.assignment(indent)
        return grads, sources

    def update(self, indent, grads, sources):
        r, kind = self.r, self.r.random()
        own = [s for s in sources if s in self.variables or s[0] == "*"]
        text = f"[{', '.join(sources)}]"
        if kind < .4 and self.optimizers:
            self.say(indent, f"pairs = [(g, v) for g, v in zip({grads}, {text}) if g is not None and hasattr(v, 'assign')]")
            if self.maybe(.3):
                self.say(indent, "pairs = [(tf.clip_by_norm(g, .5), v) for g, v in pairs]")
            self.say(indent, "if pairs:")
            self.say(indent + 1, f"{r.choice(self.optimizers)}.apply_gradients(pairs)")
        elif own:
            self.say(indent, f"for g, v in zip({grads}, {text}):")
            self.say(indent + 1, "if g is not None and hasattr(v, 'assign'):")
            self.say(indent + 2, "v.assign_sub(.1 * tf.clip_by_value(g, -1., 1.))")

    def script(self):
        r = self.r
        self.setup()
        self.say(0, f"for step in range({r.randint(2, 4)}):")
        x = r.choice([f"value(step, {MATRIX})", f"value(7, {MATRIX})"])
        self.say(1, f"x = tf.constant({x})")
        self.names[MATRIX] = self.names[MATRIX] + ["x"]
        for _ in range(r.randint(1, 2)):
            if self.maybe(.3):
                self.bind(1)
            grads, sources = self.tape(1, r.choice([0, 1, 1, 2]))
            self.update(1, grads, sources)
            if self.maybe(.2):
                self.assignment(1)
        if self.metric:
            self.say(1, f"metric.update_state({self.expression(SCALAR, 1)})")
            if self.maybe(.5):
                self.say(1, "out.append(metric.result())")
        if self.maybe(.4):
            self.say(1, f"out.append({r.choice(list(self.variables))}.numpy())")
        self.say(0, f"out += [{', '.join(self.variables)}]")
        for each in self.layers:
            self.say(0, f"out += list({each}.trainable_variables)")
        self.say(0, f"out.append({self.names[SCALAR][-1]})")
        return "\n".join(self.lines) + "\n"


def source(seed):
    """Return the text of a random script."""
    return Writer(seed).script()


def run(tf, seed):
    """Run a random script on a module with TensorFlow's names; return its results as nested lists."""
    def value(key, shape):
        return np.sin(np.arange(int(np.prod(shape)), dtype="f") * 1.7 + key + seed % 13).reshape(shape).astype("f")

    def dense(activation):
        layer = tf.keras.layers.Dense(2, activation)
        layer.build((None, 2))
        layer.set_weights([value(5, (2, 2)), value(6, (2,))])
        return layer

    # the text is compiled with a file name that inspect (and so the conversion of control flow) can read
    import linecache

    from tests.engine.scenarios import plain
    text, name = source(seed), f"<random script {seed}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    space = {"tf": tf, "value": value, "dense": dense, "out": [], "__name__": "random_script"}
    exec(compile(text, name, "exec"), space)
    return plain(space["out"])


def close(ours, theirs):
    """Whether two results agree: a few steps of float32."""
    if isinstance(theirs, list) and any(isinstance(v, list) for v in theirs):
        return len(ours) == len(theirs) and all(map(close, ours, theirs))
    return np.shape(ours) == np.shape(theirs) and np.allclose(ours, theirs, 2e-4, 2e-5, equal_nan=True)


def record(first, count, path):
    """Write TensorFlow's results."""
    import tensorflow
    tensorflow.get_logger().setLevel("ERROR")
    results = {}
    for seed in range(first, count):
        try:
            results[str(seed)] = run(tensorflow, seed)
        except Exception as error:              # a script that TensorFlow itself refuses
            print(seed, type(error).__name__, str(error)[:100], flush=True)
        tensorflow.keras.backend.clear_session()
        if seed % 100 == 99:
            write(results, path)
    write(results, path)
    print(len(results), "random scripts recorded with TensorFlow", tensorflow.__version__)


def write(results, path):
    """Write results, one script a line."""
    pathlib.Path(path).write_text(json.dumps(results, separators=(",", ":")).replace('],"', '],\n"') + "\n")


if __name__ == "__main__":
    import sys
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
    count, path, first = [*sys.argv[1:], *[None] * 3][:3]
    record(int(first or 0), int(count), path or GOLDEN)
