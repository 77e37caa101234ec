# SPDX-License-Identifier: Apache-2.0
"""Training code whose results TensorFlow has given: scenarios written once, for any module with TensorFlow's names.

`python tests/engine/scenarios.py` (in an environment with TensorFlow) records what TensorFlow returns for each into
`tests/golden/tape_scenarios.json`; `test_scenarios.py` runs them on Fitloom and compares.
"""
import json
import pathlib
import threading
import traceback

import numpy as np

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "tape_scenarios.json"
W, X = [[.1, .2], [.3, -.4]], [[1., 2.], [3., 4.]]


class Names:
    """The few names that scenarios use, on a module `tf`."""

    def __init__(self, tf):
        self.tf, self.tape = tf, tf.GradientTape
        self.clip, self.custom = tf.clip_by_norm, tf.custom_gradient
        self.tanh, self.sqrt, self.exp = tf.tanh, tf.sqrt, tf.exp
        self.relu = lambda x: tf.nn.relu(x)
        self.square, self.stop_gradient = tf.square, tf.stop_gradient
        self.reduce_mean, self.reduce_sum = tf.reduce_mean, tf.reduce_sum
        self.metric, self.adam = tf.keras.metrics.Mean, lambda rate: tf.keras.optimizers.Adam(rate)

    def V(self, value, **options):
        return self.tf.Variable(np.array(value, "f"), **options)

    def T(self, value):
        return self.tf.constant(np.array(value, "f"))

    def I(self, value):
        return self.tf.constant(np.array(value, "i4"))

    def dense(self, kernel, bias):
        layer = self.tf.keras.layers.Dense(len(bias), "tanh")
        layer.build((None, len(kernel)))
        layer.set_weights([np.array(kernel, "f"), np.array(bias, "f")])
        return layer

    def bn(self, width):
        layer = self.tf.keras.layers.BatchNormalization()
        layer.build((None, width))

        class Training:
            vars, trainable_variables = layer.weights, layer.trainable_variables

            def __call__(self, x):
                return layer(x, training=True)
        return Training()

SCENARIOS = []


def scenario(title, programs=None):
    """`programs` bounds how many programs our side may compile for it."""
    def add(f):
        SCENARIOS.append((title, f, programs))
        return f
    return add


@scenario("basic + None gradient", 1)
def _(m):
    w, u = m.V(W), m.V([1., 1.])
    with m.tape() as t:
        l = m.reduce_mean(m.tanh(m.T(X) @ w))
    return t.gradient(l, [w, u]) + [l]


@scenario("second derivative", 1)
def _(m):
    w = m.V(W)
    with m.tape() as t2:
        with m.tape() as t1:
            l = m.reduce_sum(m.tanh(m.T(X) @ w))
        g = t1.gradient(l, w)
        gg = m.reduce_sum(g * g)
    return [t2.gradient(gg, w), g, l]


@scenario("gradient penalty", 1)
def _(m):
    w, x = m.V(W), m.T(X)
    with m.tape() as t2:
        with m.tape() as t1:
            t1.watch(x)
            d = m.reduce_sum(m.tanh(x @ w))
        g = t1.gradient(d, x)
        n = m.sqrt(m.reduce_sum(g * g))
        p = (n - 1.) * (n - 1.) + d
    return t2.gradient(p, [w]) + [p]


@scenario("persistent, assign between gradients")
def _(m):
    w, v = m.V(W), m.V(W)
    with m.tape(persistent=True) as t:
        a = m.reduce_sum(m.T(X) @ w * v)
        b = m.reduce_sum(w * w)
    r = [t.gradient(a, [w, v]), t.gradient(b, [w, v]), float(a)]
    w.assign_sub(r[0][0] * .1)
    r.append(t.gradient(a, [w, v]))
    return r + [w]


@scenario("value read + branch inside the tape", 4)
def _(m):
    w = m.V(W)
    with m.tape() as t:
        h = m.tanh(m.T(X) @ w)
        if m.reduce_sum(h) > 0.:
            h = h * 2.
        l = m.reduce_sum(h * h)
        n = float(l)
    g = t.gradient(l, [w])
    w.assign_sub(g[0] * .1)
    return g + [w, n, l, h]


@scenario("write between reads, only the second counts", 1)
def _(m):
    w = m.V([2.])
    with m.tape() as t:
        a = w * 3.
        w.assign_add(m.T([1.]))
        b = w * w
        l = m.reduce_sum(a * 1. + b * 0.)
    return t.gradient(l, [w]) + [w, a, b]


@scenario("write between reads, both count", 1)
def _(m):
    w = m.V([2.])
    with m.tape() as t:
        a = w * 3.
        w.assign_add(m.T([1.]))
        l = m.reduce_sum(a * w)
    return t.gradient(l, [w]) + [w]


@scenario("assign(w*2) between reads", 1)
def _(m):
    w = m.V([2.])
    with m.tape() as t:
        a = w * 3.
        w.assign(w * 2.)
        l = m.reduce_sum(a * w)
    return t.gradient(l, [w]) + [w]


@scenario("gradient to an intermediate and upstream", 1)
def _(m):
    w = m.V(W)
    with m.tape() as t:
        h = m.tanh(m.T(X) @ w)
        l = m.reduce_sum(h * h)
    return t.gradient(l, [h, w]) + [h]


@scenario("stop_recording", 1)
def _(m):
    w = m.V([2.])
    with m.tape() as t:
        a = w * w
        with t.stop_recording():
            b = w * w * w
        l = a + b
    return t.gradient(l, [w]) + [b]


@scenario("stop_gradient -> None", 1)
def _(m):
    w = m.V([2.])
    with m.tape() as t:
        l = m.stop_gradient(w * w)
    return t.gradient(l, [w])


@scenario("two tapes (GAN), 3 steps", 2)
def _(m):
    g, d = m.V([2.]), m.V([3.])
    for _ in range(3):
        with m.tape() as tg, m.tape() as td:
            s = g * 2. * d
            lg, ld = m.reduce_sum(s * s), m.reduce_sum(s - d)
        gg, gd = tg.gradient(lg, [g]), td.gradient(ld, [d])
        g.assign_sub(gg[0] * .001)
        d.assign_sub(gd[0] * .001)
    return [g, d]


@scenario("shape error in the middle of a tape, then reuse")
def _(m):
    w, n = m.V(W), 0.
    try:
        with m.tape() as t:
            h = m.T(X) @ w
            w.assign_add(w * 0. + 1.)
            m.T([[1., 2., 3.]]) @ w
    except Exception:
        n = 1.
    with m.tape() as t:
        l = m.reduce_sum(w * w)
    return t.gradient(l, [w]) + [w, n]


@scenario("losses kept in a list, read after the loop", 1)
def _(m):
    w, losses = m.V([2.]), []
    for i in range(5):
        with m.tape() as t:
            l = m.reduce_sum(w * w)
        g = t.gradient(l, [w])
        w.assign_sub(g[0] * .1)
        losses.append(l)
    return losses + [w, g[0]]


@scenario("output_gradients, non-scalar target", 1)
def _(m):
    w = m.V(W)
    with m.tape() as t:
        h = m.tanh(m.T(X) @ w)
    return [t.gradient(h, w, output_gradients=m.T(X))]


@scenario("numpy view of a variable survives the update", 1)
def _(m):
    w = m.V([2.])
    n = w.numpy()
    with m.tape() as t:
        l = m.reduce_sum(w * w)
    g = t.gradient(l, [w])
    w.assign_sub(g[0])
    return [n * 1., w]


# -- new ones
@scenario("jacobian", 1)
def _(m):
    w = m.V(W)
    with m.tape() as t:
        h = m.tanh(m.T(X) @ w)
    return [t.jacobian(h, w), h]


@scenario("jacobian to two sources inside an outer tape")
def _(m):
    w, b = m.V(W), m.V([.1, .2])
    with m.tape() as t2:
        with m.tape() as t1:
            h = m.tanh(m.T(X) @ w + b)
        j = t1.jacobian(h, [w, b])
        s = m.reduce_sum(j[0] * j[0]) + m.reduce_sum(j[1])
    return t2.gradient(s, [w, b]) + j


@scenario("custom_gradient", 1)
def _(m):
    def f(x):
        e = m.exp(x)
        return m.sqrt(e + 1.), lambda dy: dy * (e * 3.)
    f, w = m.custom(f), m.V([.5, -1.])
    with m.tape() as t:
        l = m.reduce_sum(f(w * 2.))
    return t.gradient(l, [w]) + [l]


@scenario("BatchNorm, moving statistics in forward, 3 steps", 2)
def _(m):
    bn, w = m.bn(2), m.V(W)
    for i in range(3):
        with m.tape() as t:
            l = m.reduce_sum(m.tanh(bn(m.T(X) @ w)) * m.T(X))
        g = t.gradient(l, [w] + bn.trainable_variables)
        for v, d in zip([w] + bn.trainable_variables, g):
            v.assign_sub(d * .1)
    return g + [w] + list(bn.vars)


@scenario("clip and inspect gradients, 4 steps", 2)
def _(m):
    w, seen = m.V(W), []
    opt = m.adam(.1)
    for i in range(4):
        with m.tape() as t:
            l = m.reduce_sum(m.square(m.T(X) @ w))
        g = t.gradient(l, [w])
        g = [m.clip(x, .5) for x in g]
        seen.append(float(m.reduce_sum(g[0] * g[0])))
        opt.apply_gradients(zip(g, [w]))
    return seen + [w]


@scenario("metric updated after apply, read every 2 steps", 3)
def _(m):
    w, opt, met, seen = m.V(W), m.adam(.1), m.metric(), []
    for i in range(6):
        with m.tape() as t:
            l = m.reduce_mean(m.square(m.T(X) @ w))
        g = t.gradient(l, [w])
        opt.apply_gradients(zip(g, [w]))
        met.update_state(l)
        if i % 2:
            seen.append(float(met.result()))
    return seen + [w]


@scenario("float(loss) every 3 steps", 2)
def _(m):
    w, opt, seen = m.V(W), m.adam(.1), []
    for i in range(9):
        with m.tape() as t:
            l = m.reduce_mean(m.square(m.T(X) @ w))
        g = t.gradient(l, [w])
        opt.apply_gradients(zip(g, [w]))
        if i % 3 == 0:
            seen.append(float(l))
    return seen + [w]


@scenario("learning rate changed each step, no recompile", 1)
def _(m):
    w, opt = m.V(W), m.adam(.1)
    for i in range(6):
        with m.tape() as t:
            l = m.reduce_mean(m.square(m.T(X) @ w))
        g = t.gradient(l, [w])
        opt.learning_rate = .1 / (i + 1)
        opt.apply_gradients(zip(g, [w]))
    return [w, l]


@scenario("last batch smaller, two epochs", 2)
def _(m):
    w, opt = m.V(W), m.adam(.1)
    for e in range(2):
        for x in (X, X, X[:1]):
            with m.tape() as t:
                l = m.reduce_mean(m.square(m.T(x) @ w))
            g = t.gradient(l, [w])
            opt.apply_gradients(zip(g, [w]))
    return [w, l]


@scenario("2,000-operation Python loop, twice", 2)
def _(m):
    w = m.V([.5])
    for s in range(2):
        with m.tape() as t:
            h = w * 1.
            for i in range(1000):
                h = h * .999 + w * .001
            l = m.reduce_sum(h * h)
        g = t.gradient(l, [w])
        w.assign_sub(g[0] * .1)
    return g + [w, l]


@scenario("long loop, second derivative")
def _(m):
    w = m.V([.5])
    with m.tape() as t2:
        with m.tape() as t1:
            h = w * 1.
            for i in range(200):
                h = h * .99 + w * w * .01
            l = m.reduce_sum(h)
        g = t1.gradient(l, w)
    return [t2.gradient(g, w), g, l]


@scenario("exception in apply part, then the loop goes on")
def _(m):
    w, opt, n = m.V(W), m.adam(.1), 0
    for i in range(4):
        try:
            with m.tape() as t:
                l = m.reduce_mean(m.square(m.T(X) @ w))
                if i == 1:
                    raise KeyError
            g = t.gradient(l, [w])
            opt.apply_gradients(zip(g, [w]))
        except KeyError:
            n += 1
    return [w, float(n)]


@scenario("two threads, one shared variable")
def _(m):
    w, out, errors = m.V(W), {}, []
    vs = [m.V(W), m.V(X)]

    def work(k):
        try:
            for i in range(20):
                with m.tape() as t:
                    l = m.reduce_mean(m.square(m.T(X) @ vs[k] + w))
                g = t.gradient(l, [vs[k]])
                vs[k].assign_sub(g[0] * .01)
            out[k] = float(l)
        except Exception as e:
            traceback.print_exc()
            errors.append(e)
    ts = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    [t.start() for t in ts]
    [t.join() for t in ts]
    assert not errors
    return [out[0], out[1]] + vs


@scenario("a write left pending by another thread is seen")
def _(m):
    w = m.V([1.])
    t = threading.Thread(target=lambda: w.assign(w * 5.))
    t.start()
    t.join()
    return [w, w * 2.]


@scenario("tape.watch on a tensor; unwatched gives None", 2)
def _(m):
    x, y = m.T([2.]), m.T([3.])
    with m.tape() as t:
        t.watch(x)
        l = x * x * y
    return t.gradient(l, [x, y])


@scenario("intermediate of unwatched inputs gives None", 1)
def _(m):
    x, w = m.T([2.]), m.V([3.])
    with m.tape() as t:
        h = x * 2.
        l = h * w
    return t.gradient(l, [h, w])


@scenario("watch_accessed_variables=False", 1)
def _(m):
    a, b = m.V([2.]), m.V([3.])
    with m.tape(watch_accessed_variables=False) as t:
        t.watch(a)
        l = a * b
    return t.gradient(l, [a, b])


@scenario("non-trainable variable gives None", 1)
def _(m):
    a, b = m.V([2.]), m.V([3.], trainable=False)
    with m.tape() as t:
        l = a * b
    return t.gradient(l, [a, b])


@scenario("unconnected_gradients zero", 1)
def _(m):
    a, b = m.V([2.]), m.V([[3., 1.]])
    with m.tape() as t:
        l = a * a
    return t.gradient(l, [a, b], unconnected_gradients="zero")


@scenario("model used twice in one tape, 3 steps", 2)
def _(m):
    d, opt = m.dense(W, [.1, .2]), m.adam(.1)
    for i in range(3):
        with m.tape() as t:
            l = m.reduce_mean(m.square(d(m.T(X)) - d(d(m.T(X)))))
        g = t.gradient(l, d.trainable_variables)
        opt.apply_gradients(zip(g, d.trainable_variables))
    return g + list(d.trainable_variables)


@scenario("persistent tape in a loop", 2)
def _(m):
    w, u = m.V(W), m.V([1., 2.])
    for i in range(5):
        with m.tape(persistent=True) as t:
            h = m.tanh(m.T(X) @ w)
            a, b = m.reduce_sum(h * u), m.reduce_sum(h * h)
        ga, gb = t.gradient(a, u), t.gradient(b, w)
        u.assign_sub(ga * .1)
        w.assign_sub(gb * .1)
    return [w, u, ga, gb]


@scenario("persistent tape used after the next step began")
def _(m):
    w = m.V([2.])
    with m.tape(persistent=True) as t0:
        a = w * w * w
    g0 = t0.gradient(a, w)
    w.assign_sub(g0 * .1)
    with m.tape() as t1:
        l = w * w
    g1 = t1.gradient(l, w)
    w.assign_sub(g1 * .1)
    return [g0, g1, t0.gradient(a, w), w]


@scenario("second gradient of a plain tape raises", 1)
def _(m):
    w = m.V([2.])
    with m.tape() as t:
        l = w * w
    t.gradient(l, w)
    try:
        t.gradient(l, w)
    except RuntimeError as e:
        return [float("non-persistent" in str(e))]


@scenario("gradient of a linear gradient is None", 1)
def _(m):
    w, x = m.V([2.]), m.T([3.])
    with m.tape() as t2:
        with m.tape() as t1:
            l = w * x
        g = t1.gradient(l, w)
    return [t2.gradient(g, w)]


@scenario("nested structure of sources, dict", 1)
def _(m):
    a, b = m.V([2.]), m.V([3.])
    with m.tape() as t:
        l = a * b * b
    g = t.gradient(l, dict(a=a, rest=[b]))
    return [g["a"], g["rest"][0]]


@scenario("list of targets", 1)
def _(m):
    a = m.V([2.])
    with m.tape() as t:
        x, y = a * a, a * 3.
    return [t.gradient([x, y], a)]


@scenario("gradient inside the tape, then more recording", 1)
def _(m):
    w = m.V([2.])
    with m.tape(persistent=True) as t:
        y = w * w * w
        g = t.gradient(y, w)
        z = g * w
    return [t.gradient(z, w), g]


@scenario("variable swap through tensors", 3)
def _(m):
    a, b = m.V([2.]), m.V([3.])
    for i in range(3):
        x, y = a * 1., b * 1.
        a.assign(y)
        b.assign(x)
        with m.tape() as t:
            l = a * a * b
        g = t.gradient(l, [a, b])
    return g + [a, b, x, y]


def random_program(m, seed):
    """A random training script: layers, sources, reads, assigns and update styles vary from step to step."""
    r = np.random.default_rng(seed)
    layers = [m.dense(W, [.1, .2]), m.dense(X, [.3, .1]), m.dense(W, [0., .5])]
    w, opt, met, out = m.V([.5, 1.]), m.adam(.01), m.metric(), []
    everything = [v for d in layers for v in d.trainable_variables] + [w]
    opt.apply_gradients([(m.T(np.zeros(v.shape)), v) for v in everything])
    styles = r.integers(0, 2 ** 10, 3)
    for i in range(8):
        style = int(r.choice(styles))                         # a few loop bodies that alternate
        bit = lambda k: bool(style >> k & 1)
        x = m.T(r.normal(size=(2 if bit(9) else 3, 2)))
        with m.tape(persistent=bit(0)) as t:
            h = x
            for k in ((0, 1), (1, 0, 2), (2,), (0, 0))[style >> 1 & 3]:
                h = layers[k](h)
            h = h * w if bit(3) else h * .5 + w
            if bit(4):
                w.assign(w * .9)
            l = m.reduce_mean(m.square(h))
            if bit(5):
                out.append(float(l))
        src = everything if bit(6) else everything[::2] + [w]
        g = [m.T(np.zeros(v.shape)) if d is None else d for v, d in zip(src, t.gradient(l, src))]
        if bit(7):
            for v, d in zip(src, g):
                v.assign_sub(d * .1)
        elif bit(6):
            opt.apply_gradients(zip(g, src))
        else:
            w.assign_sub(g[-1] * .1)
        if bit(8):
            met.update_state(l)
        if r.random() < .2:
            out.append(w.numpy().tolist())
    return out + everything + [l]


for _k in range(16):
    SCENARIOS.append((f"random program {_k}", lambda m, k=_k: random_program(m, k), None))


def plain(result):
    """Return a scenario's results as nested lists of numbers and None."""
    if result is None:
        return None
    if isinstance(result, (list, tuple)):
        return [plain(x) for x in result]
    return np.asarray(result.numpy() if hasattr(result, "numpy") else result).tolist()


def same(ours, theirs):
    """Whether two results agree within float32 rounding (3e-6: BatchNormalization over two rows cancels)."""
    if ours is None or theirs is None:
        return ours is None and theirs is None
    if isinstance(ours, list) and isinstance(theirs, list) and any(isinstance(x, (list, type(None))) for x in ours):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return np.shape(ours) == np.shape(theirs) and np.allclose(ours, theirs, 2e-5, 3e-6, equal_nan=True)


def record():
    """Write what TensorFlow gives for every scenario."""
    import tensorflow
    names, results = Names(tensorflow), {}
    for title, run, _ in SCENARIOS:
        assert title not in results, title
        results[title] = plain(run(names))
    GOLDEN.write_text(json.dumps(results, indent=0).replace(",\n", ",").replace("[\n", "[").replace("\n]", "]"))
    print(len(SCENARIOS), "scenarios recorded with TensorFlow", tensorflow.__version__)


if __name__ == "__main__":
    import pathlib
    import sys
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
    from tests.engine import scenarios, scenarios_training  # noqa: F401  the second adds to the first's table
    scenarios.record()
