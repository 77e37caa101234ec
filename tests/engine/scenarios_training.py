# SPDX-License-Identifier: Apache-2.0
"""More scenarios: training code as people write it, and the corners of the tape (see scenarios.py)."""
import numpy as np
from tests.engine.scenarios import W, X, scenario


@scenario("dropout in the loop: the gradient is the mask of the value")
def _(m):
    w, drop = m.V(np.ones((8, 8))), m.tf.keras.layers.Dropout(.5)
    worst = 0.
    for i in range(3):
        with m.tape() as t:
            y = drop(w * 1., training=True)
            l = m.reduce_sum(y)
        worst = max(worst, float(m.reduce_sum(m.square(t.gradient(l, w) - y))))
    return [worst, drop(w * 1., training=False)]


@scenario("subclass call with prints, 3 steps")
def _(m):
    printed = []

    class Block(m.tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = m.dense(W, [.1, .2]), m.dense(X, [.3, .1])

        def call(self, x, training=False):
            printed.append(f"{tuple(x.shape)} {training}")
            h = self.first(x)
            printed.append(float(m.reduce_sum(h)) > 0.)
            return self.second(h) if training else h

    model, opt = Block(), m.adam(.1)
    for i in range(3):
        with m.tape() as t:
            l = m.reduce_mean(m.square(model(m.T(X), training=True)))
        g = t.gradient(l, model.trainable_variables)
        opt.apply_gradients(zip(g, model.trainable_variables))
    return [l, float(len(printed)), *model.trainable_variables]


@scenario("model.losses of regularizers in the loop")
def _(m):
    keras = m.tf.keras
    d = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(.1), bias_regularizer="l1")
    d.build((None, 2))
    d.set_weights([np.array(W, "f"), np.array([.1, -.2], "f")])
    opt = keras.optimizers.SGD(.1)
    for i in range(3):
        with m.tape() as t:
            l = m.reduce_mean(m.square(d(m.T(X)))) + sum(d.losses)
        g = t.gradient(l, d.trainable_variables)
        opt.apply_gradients(zip(g, d.trainable_variables))
    return [l, *d.trainable_variables]


@scenario("add_loss in call")
def _(m):
    class Activity(m.tf.keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = m.dense(W, [.1, .2])

        def call(self, x):
            h = self.inner(x)
            self.add_loss(.1 * m.reduce_sum(m.square(h)))
            return h

    layer = Activity()
    for i in range(2):
        with m.tape() as t:
            l = m.reduce_mean(layer(m.T(X))) + sum(layer.losses)
        g = t.gradient(l, layer.trainable_variables)
        for v, d in zip(layer.trainable_variables, g):
            v.assign_sub(.1 * d)
    return [l, float(len(layer.losses)), *layer.trainable_variables]


@scenario("gradient accumulation in variables")
def _(m):
    w, total, opt = m.V(W), m.V(np.zeros((2, 2)), trainable=False), m.adam(.1)
    for i in range(8):
        with m.tape() as t:
            l = m.reduce_mean(m.square(m.T(X) @ w * float(i + 1)))
        total.assign_add(t.gradient(l, w))
        if i % 4 == 3:
            opt.apply_gradients([(total / 4., w)])
            total.assign(m.tf.zeros_like(total))
    return [w, total]


@scenario("gradient accumulation in a list")
def _(m):
    w, u, opt, grads = m.V(W), m.V([1., 2.]), m.adam(.1), None
    for i in range(4):
        with m.tape() as t:
            l = m.reduce_mean(m.square(m.T(X) @ w * u + float(i)))
        g = t.gradient(l, [w, u])
        grads = g if grads is None else [a + b for a, b in zip(grads, g)]
    opt.apply_gradients(zip([a / 4. for a in grads], [w, u]))
    return [w, u, l]


@scenario("global norm clip")
def _(m):
    w, u, norms = m.V(W), m.V([1., 2.]), []
    for i in range(3):
        with m.tape() as t:
            l = m.reduce_sum(m.square(m.T(X) @ w * u))
        g, norm = m.tf.clip_by_global_norm(t.gradient(l, [w, u]), 1.)
        norms.append(norm)
        for v, d in zip([w, u], g):
            v.assign_sub(.1 * d)
    return [w, u, *norms]


@scenario("one gradient is None: it is skipped")
def _(m):
    import warnings
    w, u, opt = m.V(W), m.V([1., 2.]), m.tf.keras.optimizers.SGD(.1)
    with m.tape() as t:
        l = m.reduce_sum(m.square(m.T(X) @ w))
    g = t.gradient(l, [w, u])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opt.apply_gradients(zip(g, [w, u]))
    return [w, u, g[1]]


@scenario("all gradients are None: ValueError")
def _(m):
    u, opt = m.V([1., 2.]), m.tf.keras.optimizers.SGD(.1)
    with m.tape() as t:
        l = m.reduce_sum(m.T(X))
    try:
        opt.apply_gradients(zip(t.gradient(l, [u]), [u]))
    except ValueError:
        return [1.]
    return [0.]


@scenario("a watched variable that is not trainable")
def _(m):
    a, b = m.V([2.]), m.V([3.], trainable=False)
    with m.tape() as t:
        t.watch(b)
        l = a * b * b
    return t.gradient(l, [a, b])


@scenario("reset forgets")
def _(m):
    a = m.V([2.])
    with m.tape() as t:
        x = a * a
        t.reset()
        y = a * 3. + x
    return [t.gradient(y, a)]


@scenario("a persistent tape entered twice")
def _(m):
    a = m.V([2.])
    t = m.tape(persistent=True)
    with t:
        x = a * a
    outside = x * 2.
    with t:
        y = x * a
    return [t.gradient(y, a), t.gradient(x, a), t.gradient(outside, a)]


@scenario("gradient taken inside stop_recording")
def _(m):
    a = m.V([2.])
    with m.tape(persistent=True) as t:
        y = a * a * a
        with t.stop_recording():
            g = t.gradient(y, a)
        z = y * g
    return [t.gradient(z, a), g]


@scenario("third derivative, persistent tapes")
def _(m):
    x = m.V([1.5])
    with m.tape(persistent=True) as t3:
        with m.tape(persistent=True) as t2:
            with m.tape(persistent=True) as t1:
                y = m.tanh(x * x) * x
            a = t1.gradient(y, x)
        b = t2.gradient(a, x)
    return [t3.gradient(b, x), t3.gradient(a, x), t3.gradient(y, x), b, a]


@scenario("Hessian-vector product, reverse over reverse")
def _(m):
    w, v = m.V(W), m.T(X)
    with m.tape() as t2:
        with m.tape() as t1:
            l = m.reduce_sum(m.tanh(m.T(X) @ w) ** 2.)
        g = t1.gradient(l, w)
    return [t2.gradient(g, w, output_gradients=v), g]


@scenario("Hessian-vector product, forward over reverse")
def _(m):
    w, v = m.V(W), m.T(X)
    with m.tf.autodiff.ForwardAccumulator(w, v) as acc:
        with m.tape() as t:
            l = m.reduce_sum(m.tanh(m.T(X) @ w) ** 2.)
        g = t.gradient(l, w)
    return [acc.jvp(g), acc.jvp(l)]


@scenario("Hessian by jacobian of the gradient")
def _(m):
    w = m.V([.5, -1., 2.])
    with m.tape() as t2:
        with m.tape() as t1:
            l = m.reduce_sum(m.exp(w) * w[::-1])
        g = t1.gradient(l, w)
    return [t2.jacobian(g, w)]


@scenario("batch_jacobian")
def _(m):
    x, w = m.T(X), m.V(W)
    with m.tape() as t:
        t.watch(x)
        y = m.tanh(x @ w) * x
    return [t.batch_jacobian(y, x)]


@scenario("jacobian to something unconnected")
def _(m):
    a, b = m.V([2., 1.]), m.V([3.])
    with m.tape(persistent=True) as t:
        y = a * a
    return [t.jacobian(y, b), t.jacobian(y, b, unconnected_gradients=m.tf.UnconnectedGradients.ZERO)]


@scenario("through an integer: None")
def _(m):
    a = m.V([2.5])
    with m.tape(persistent=True) as t:
        whole = m.tf.cast(a, "int32")
        y = m.tf.cast(whole, "float32") * 2.
        z = y + a
    return [t.gradient(y, a), t.gradient(z, a)]


@scenario("argmax, comparisons and rounding")
def _(m):
    a = m.V([2.5, 1., 3.])
    with m.tape(persistent=True) as t:
        index = m.tf.cast(m.tf.argmax(a), "float32") * 2.
        mask = m.tf.cast(a > 2., "float32")
        y = m.reduce_sum(mask * a)
        rounded = m.reduce_sum(m.tf.round(a)) + m.reduce_sum(m.tf.floor(a) * a)
    return [t.gradient(index, a), t.gradient(y, a), t.gradient(rounded, a)]


@scenario("where with a NaN in the branch not taken")
def _(m):
    a = m.V([-1., 0., 4.])
    with m.tape(persistent=True) as t:
        safe = m.tf.where(a > 0., a, m.tf.ones_like(a))
        y = m.reduce_sum(m.tf.where(a > 0., m.sqrt(safe), m.tf.zeros_like(a)))
        bad = m.reduce_sum(m.tf.where(a > 0., m.tf.math.log(a), m.tf.zeros_like(a)))
    return [t.gradient(y, a), t.gradient(bad, a)]


@scenario("kinks: sqrt, abs, relu, maximum, norm at 0")
def _(m):
    tf, z = m.tf, m.V([0., 1., -1.])
    with m.tape(persistent=True) as t:
        ys = [m.sqrt(z * z), tf.abs(z), m.relu(z), tf.maximum(z, 0.), tf.minimum(z, 0.), z ** 2., tf.sign(z) * z,
              tf.nn.leaky_relu(z), tf.nn.elu(z), tf.norm(z * 0.), tf.clip_by_value(z, 0., 1.), tf.nn.relu6(z),
              tf.math.divide_no_nan(1., z), tf.math.xlogy(z, z + 1.)]
    return [t.gradient(y, z) for y in ys]


@scenario("ties in max, min and sort")
def _(m):
    tf, z = m.tf, m.V([[1., 3., 3.], [2., 2., 2.]])
    with m.tape(persistent=True) as t:
        ys = [tf.reduce_max(z), tf.reduce_max(z, 1), tf.reduce_min(z, 0), tf.nn.top_k(z, 2)[0] * m.T([[1., 2.]]),
              tf.sort(z, 1) * m.T([[1., 2., 3.]]), tf.reduce_prod(z, 1), tf.reduce_logsumexp(z, 1)]
    return [t.gradient(y, z) for y in ys]


@scenario("gather with repeated rows")
def _(m):
    table = m.V([[1., 2.], [3., 4.], [5., 6.]])
    with m.tape() as t:
        rows = m.tf.gather(table, m.I([0, 2, 0]))
        l = m.reduce_sum(rows * m.T([[1., 2.], [3., 4.], [5., 6.]]))
    return [m.tf.convert_to_tensor(t.gradient(l, table))]


@scenario("embedding trained with momentum, every row in every batch")
def _(m):
    e, opt = m.tf.keras.layers.Embedding(4, 2), m.tf.keras.optimizers.SGD(.1, momentum=.9)
    e.build((None,))
    e.set_weights([np.arange(8, dtype="f").reshape(4, 2) / 10])
    for ids in ([[0, 2, 1, 3]], [[2, 2, 3, 1, 0]], [[3, 0, 2, 1, 1]]):
        with m.tape() as t:
            l = m.reduce_sum(m.square(e(m.I(ids)) - 1.))
        opt.apply_gradients(zip(t.gradient(l, e.trainable_variables), e.trainable_variables))
    return [l, *e.trainable_variables]


@scenario("slices, newaxis, masks")
def _(m):
    tf, w = m.tf, m.V(np.arange(12).reshape(3, 4) / 10)
    with m.tape(persistent=True) as t:
        ys = [w[1], w[:, 2], w[::2, 1:3], w[..., tf.newaxis] * 2., w[-1, ::-1] * m.T([1., 2., 3., 4.]), w[0, 0],
              tf.boolean_mask(w, w > .5), tf.transpose(w)[1], tf.reverse(w, [0])[0], tf.roll(w, 1, 0)[0]]
    return [tf.convert_to_tensor(t.gradient(y, w)) for y in ys]


@scenario("concat, split, stack, unstack, tile, pad")
def _(m):
    tf, a, b = m.tf, m.V(W), m.V(X)
    with m.tape() as t:
        joined = tf.concat([a, b * 2.], 1)
        left, right = tf.split(joined, [1, 3], 1)
        first, second = tf.unstack(tf.stack([a * a, b]))
        l = m.reduce_sum(left) * 3. + m.reduce_sum(right * right) + m.reduce_sum(first * second) \
            + m.reduce_sum(tf.tile(a, [2, 1]) ** 2.) + m.reduce_sum(tf.pad(b, [[1, 0], [0, 1]], constant_values=2.) ** 2.)
    return t.gradient(l, [a, b]) + [l]


@scenario("einsum, tensordot, matmul with transposes")
def _(m):
    tf, a, b = m.tf, m.V(W), m.V(X)
    with m.tape() as t:
        l = m.reduce_sum(tf.einsum("ij,kj->ik", a, b) ** 2.) + m.reduce_sum(tf.tensordot(a, b, [[0], [1]])) \
            + m.reduce_sum(tf.matmul(a, b, transpose_a=True)) * 2. + tf.linalg.trace(tf.matmul(a, b, transpose_b=True))
    return t.gradient(l, [a, b]) + [l]


@scenario("broadcasting in every direction")
def _(m):
    a, b, c = m.V([[1.], [2.]]), m.V([.5, -1., 2.]), m.V(3.)
    with m.tape() as t:
        l = m.reduce_sum((a + b) * c / (a * a + 1.) - b ** 2. * a)
    return t.gradient(l, [a, b, c]) + [l]


@scenario("linear algebra: inverse, solve, cholesky, determinant")
def _(m):
    tf, a = m.tf, m.V([[2., .5], [.5, 1.]])
    with m.tape() as t:
        l = m.reduce_sum(tf.linalg.inv(a) * m.T(X)) + m.reduce_sum(tf.linalg.solve(a, m.T(X))) + tf.linalg.det(a)
    return [t.gradient(l, a), l]


@scenario("tf.cond, tf.while_loop, tf.switch_case under a tape")
def _(m):
    tf, w = m.tf, m.V(1.5)
    with m.tape() as t:
        a = tf.cond(w > 1., lambda: w * w, lambda: w * 3.)
        _, b = tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * w), (tf.constant(0), tf.constant(1.)))
        c = tf.switch_case(tf.constant(1), [lambda: w, lambda: w ** 4.])
        l = a + b + c
    return [t.gradient(l, w), l]


@scenario("Python while on a tensor")
def _(m):
    w, rounds = m.V(1.5), 0
    with m.tape() as t:
        y = w * 1.
        while y < 20.:
            y = y * w
            rounds += 1
    return [t.gradient(y, w), y, float(rounds)]


@scenario("map_fn, scan, vectorized_map under a tape")
def _(m):
    tf, w, x = m.tf, m.V(2.), m.T([1., 2., 3.])
    with m.tape() as t:
        l = m.reduce_sum(tf.map_fn(lambda v: v * v * w, x)) + tf.scan(lambda a, v: a * w + v, x)[-1] \
            + m.reduce_sum(tf.vectorized_map(lambda v: v * w * w, x))
    return [t.gradient(l, w), l]


@scenario("tf.function under a tape, with a captured tensor")
def _(m):
    tf, w, c = m.tf, m.V([1., 2.]), m.T([3., 4.])

    @tf.function
    def f(x):
        return m.reduce_sum(w * w * x * c)

    with m.tape() as t:
        x = w * 2.
        l = f(x)
    return t.gradient(l, [w, x]) + [l]


@scenario("tf.function that captures a watched tensor and an intermediate")
def _(m):
    tf, w, x = m.tf, m.V([1., 2.]), m.T([3., 4.])
    with m.tape() as t:
        t.watch(x)
        h = w * x

        @tf.function
        def f():
            return m.reduce_sum(tf.sigmoid(x) * h)
        l = f()
    return t.gradient(l, [w, x, h]) + [l]


@scenario("tf.function, the captured tensor made before the tape and watched")
def _(m):
    tf, x = m.tf, m.T([3., 4.])
    f = tf.function(lambda s: m.reduce_sum(x * x) * s)
    results = []
    for scale in (1., 2., 3.):
        with m.tape() as t:
            t.watch(x)
            l = f(tf.constant(scale))
        results += [t.gradient(l, x), l]
    return results


@scenario("tf.function with the whole step inside")
def _(m):
    tf, w, opt, seen = m.tf, m.V(W), m.adam(.1), []

    @tf.function
    def step(x):
        with m.tape() as t:
            l = m.reduce_mean(m.square(x @ w))
        opt.apply_gradients([(t.gradient(l, w), w)])
        return l

    opt.build([w])
    for i in range(4):
        seen.append(step(m.T(X)))
    return [w, *seen]


@scenario("nested tf.functions with assignments")
def _(m):
    tf, count, w = m.tf, m.V(0., trainable=False), m.V([2., 3.])

    @tf.function
    def inner(x):
        count.assign_add(1.)
        return x * w + count

    @tf.function
    def outer(x):
        return inner(inner(x)) * count

    with m.tape() as t:
        y = outer(m.T([1., 1.]))
        l = m.reduce_sum(y)
    return [t.gradient(l, w), y, count]


@scenario("second derivative through a tf.function")
def _(m):
    tf, x = m.tf, m.V(.7)
    f = tf.function(lambda v: m.tanh(v) * v)
    with m.tape() as t2:
        with m.tape() as t1:
            y = f(x)
        g = t1.gradient(y, x)
    return [t2.gradient(g, x), g]


@scenario("a variable made in the first call of a tf.function")
def _(m):
    tf = m.tf

    class Counter:
        v = None

        @tf.function
        def __call__(self, x):
            if self.v is None:
                self.v = tf.Variable(tf.ones(2))
            self.v.assign_add(x)
            return self.v * 2.

    c = Counter()
    return [c(m.T([1., 2.])), c(m.T([1., 2.])), c.v]


@scenario("Python branch on the gradient's norm")
def _(m):
    w, taken = m.V(W), []
    for i in range(6):
        with m.tape() as t:
            l = m.reduce_sum(m.square(m.T(X) @ w))
        g = t.gradient(l, w)
        big = bool(m.sqrt(m.reduce_sum(g * g)) > 5.)
        taken.append(float(big))
        w.assign_sub(g * (.001 if big else .01))
    return taken + [w]


@scenario("line search: assign, evaluate, take back")
def _(m):
    w, rates = m.V(W), []
    loss = lambda: m.reduce_sum(m.square(m.T(X) @ w))
    for i in range(3):
        with m.tape() as t:
            l = loss()
        g, old, rate = t.gradient(l, w), w.numpy(), 1.
        while True:
            w.assign(old - rate * g)
            if float(loss()) < float(l):
                break
            rate /= 2
        rates.append(rate)
    return rates + [w]


@scenario("moving average of weights; a target copied every second step")
def _(m):
    w, average, target = m.V(W), m.V(W, trainable=False), m.V(W, trainable=False)
    for i in range(5):
        with m.tape() as t:
            l = m.reduce_sum(m.square(m.T(X) @ w - m.T(X) @ target + 1.))
        w.assign_sub(.01 * t.gradient(l, w))
        average.assign(average * .9 + w * .1)
        if i % 2:
            target.assign(w)
    return [w, average, target, l]


@scenario("DQN: the target under stop_gradient")
def _(m):
    q, other, opt = m.dense(W, [.1, .2]), m.dense(X, [0., .5]), m.adam(.05)
    for i in range(3):
        with m.tape() as t:
            goal = m.stop_gradient(m.tf.reduce_max(other(q(m.T(X))), 1)) * .9
            chosen = m.reduce_sum(q(m.T(X)) * m.tf.one_hot(m.I([0, 1]), 2), 1)
            l = m.reduce_mean(m.square(goal - chosen))
        g = t.gradient(l, q.trainable_variables)
        opt.apply_gradients(zip(g, q.trainable_variables))
    return [l, *q.trainable_variables]


@scenario("policy gradient over an episode of steps in a list")
def _(m):
    policy, opt = m.dense(W, [.1, .2]), m.adam(.05)
    for episode in range(2):
        with m.tape() as t:
            logs, state = [], m.T(X[:1])
            for i in range(4):
                p = m.tf.nn.softmax(policy(state))
                logs.append(m.tf.math.log(p[0, i % 2]))
                state = state * .9 + float(i)
            l = -m.reduce_sum(m.tf.stack(logs) * m.T([1., .5, .25, 2.]))
        g = t.gradient(l, policy.trainable_variables)
        opt.apply_gradients(zip(g, policy.trainable_variables))
    return [l, *policy.trainable_variables]


@scenario("VAE step with given noise")
def _(m):
    encoder, decoder, opt = m.dense(W, [.1, .2]), m.dense(X, [0., .5]), m.adam(.05)
    vs = list(encoder.trainable_variables) + list(decoder.trainable_variables)
    for i in range(3):
        with m.tape() as t:
            mean = encoder(m.T(X))
            log_var = mean * .5
            z = mean + m.exp(.5 * log_var) * m.T(W)
            l = m.reduce_mean(m.square(decoder(z) - m.T(X))) - .5 * m.reduce_mean(1. + log_var - mean ** 2. - m.exp(log_var))
        opt.apply_gradients(zip(t.gradient(l, vs), vs))
    return [l, *vs]


@scenario("WGAN with gradient penalty: two critic steps, one generator step")
def _(m):
    critic, generator = m.dense(W, [.1, .2]), m.dense(X, [0., .5])
    a, b = m.adam(.05), m.adam(.02)
    for i in range(2):
        for _ in range(2):
            with m.tape() as t:
                fake, real = generator(m.T(W)), m.T(X)
                mixed = real * .3 + fake * .7
                with m.tape() as inner:
                    inner.watch(mixed)
                    score = critic(mixed)
                slope = m.sqrt(m.reduce_sum(inner.gradient(score, mixed) ** 2., 1))
                l = m.reduce_mean(critic(fake)) - m.reduce_mean(critic(real)) + 10. * m.reduce_mean((slope - 1.) ** 2.)
            vs = critic.trainable_variables
            a.apply_gradients(zip(t.gradient(l, vs), vs))
        with m.tape() as t:
            lg = -m.reduce_mean(critic(generator(m.T(W))))
        vs = generator.trainable_variables
        b.apply_gradients(zip(t.gradient(lg, vs), vs))
    return [l, lg, *critic.trainable_variables, *generator.trainable_variables]


@scenario("MAML: differentiate through two inner steps")
def _(m):
    w = m.V(W)
    loss = lambda v, x: m.reduce_mean(m.square(m.tanh(x @ v) - 1.))
    for i in range(2):
        with m.tape() as outer:
            fast = w * 1.
            for _ in range(2):
                with m.tape() as inner:
                    inner.watch(fast)
                    l = loss(fast, m.T(X))
                fast = fast - .1 * inner.gradient(l, fast)
            final = loss(fast, m.T(W))
        w.assign_sub(.1 * outer.gradient(final, w))
    return [w, final]


@scenario("adversarial example, then a step on it")
def _(m):
    w, x = m.V(W), m.T(X)
    for i in range(3):
        with m.tape() as t:
            t.watch(x)
            l = m.reduce_sum(m.square(x @ w - 1.))
        x2 = x + .01 * m.tf.sign(t.gradient(l, x))
        with m.tape() as t:
            l = m.reduce_sum(m.square(x2 @ w - 1.))
        w.assign_sub(.01 * t.gradient(l, w))
    return [w, x2, l]


@scenario("gradient ascent on an input, tensors only")
def _(m):
    x, w = m.T(X), m.V(W)
    for i in range(5):
        with m.tape() as t:
            t.watch(x)
            l = m.reduce_sum(m.tanh(x @ w))
        g = t.gradient(l, x)
        x = x + .5 * g / (m.sqrt(m.reduce_mean(g * g)) + 1e-3)
    return [x, l]


@scenario("contrastive loss over a similarity matrix")
def _(m):
    d, opt = m.dense(W, [.1, .2]), m.adam(.05)
    for i in range(3):
        with m.tape() as t:
            z = m.tf.math.l2_normalize(d(m.T(X)), 1)
            s = m.tf.matmul(z, z, transpose_b=True) / .5
            l = m.reduce_mean(m.tf.nn.sparse_softmax_cross_entropy_with_logits(m.I([1, 0]), s))
        opt.apply_gradients(zip(t.gradient(l, d.trainable_variables), d.trainable_variables))
    return [l, *d.trainable_variables]


def _filled(layer, shape, scale=7.):
    layer.build(shape)
    layer.set_weights([np.sin(np.arange(v.size) * .7 + i).reshape(v.shape).astype("f") / scale * 3.
                       for i, v in enumerate(layer.get_weights())])
    return layer


@scenario("LSTM and Dense, 3 steps")
def _(m):
    layers, opt = m.tf.keras.layers, m.adam(.05)
    a, b = _filled(layers.LSTM(3), (None, 4, 2)), _filled(layers.Dense(1), (None, 3))
    x, vs = m.T(np.cos(np.arange(16)).reshape(2, 4, 2)), a.trainable_variables + b.trainable_variables
    for i in range(3):
        with m.tape() as t:
            l = m.reduce_mean(m.square(b(a(x)) - 1.))
        opt.apply_gradients(zip(t.gradient(l, vs), vs))
    return [l, *vs]


@scenario("convolution, pooling, BatchNormalization, 3 steps")
def _(m):
    layers, opt = m.tf.keras.layers, m.tf.keras.optimizers.SGD(.1, momentum=.9)
    a, b = _filled(layers.Conv2D(3, 2), (None, 5, 5, 2)), layers.BatchNormalization()
    b.build((None, 4, 4, 3))
    x = m.T(np.cos(np.arange(100)).reshape(2, 5, 5, 2))
    vs = a.trainable_variables + b.trainable_variables
    for i in range(3):
        with m.tape() as t:
            h = layers.MaxPooling2D()(m.relu(b(a(x), training=True)))
            l = m.reduce_mean(m.square(h - 1.))
        opt.apply_gradients(zip(t.gradient(l, vs), vs))
    return [l, *vs, *b.non_trainable_variables]


@scenario("LossScaleOptimizer by hand")
def _(m):
    w = m.V(W)
    opt = m.tf.keras.optimizers.LossScaleOptimizer(m.tf.keras.optimizers.SGD(.1), initial_scale=8.)
    for i in range(3):
        with m.tape() as t:
            l = m.reduce_mean(m.square(m.T(X) @ w))
            scaled = opt.scale_loss(l)
        opt.apply_gradients([(t.gradient(scaled, w), w)])
    return [w, l, scaled]


@scenario("iterations, learning rate and slots read between steps")
def _(m):
    w, opt, seen = m.V(W), m.tf.keras.optimizers.SGD(.1, momentum=.9), []
    for i in range(4):
        with m.tape() as t:
            l = m.reduce_mean(m.square(m.T(X) @ w))
        opt.apply_gradients([(t.gradient(l, w), w)])
        if i == 1:
            opt.learning_rate.assign(.05)
        seen += [float(opt.iterations), float(opt.learning_rate)]
    return seen + [w, opt.variables[-1]]


@scenario("a schedule by hand, and one inside the optimizer")
def _(m):
    schedules = m.tf.keras.optimizers.schedules
    v, w = m.V(W), m.V(W)
    inside = m.tf.keras.optimizers.SGD(schedules.ExponentialDecay(.1, 2, .5, staircase=True))
    by_hand = m.tf.keras.optimizers.SGD(.1)
    for i in range(5):
        by_hand.learning_rate = .1 * .5 ** (i // 2)
        for opt, u in ((inside, v), (by_hand, w)):
            with m.tape() as t:
                l = m.reduce_mean(m.square(m.T(X) @ u))
            opt.apply_gradients([(t.gradient(l, u), u)])
    return [v, w]


@scenario("two optimizers on parts of one gradient")
def _(m):
    d, e = m.dense(W, [.1, .2]), m.dense(X, [.3, .1])
    a, b = m.adam(.1), m.tf.keras.optimizers.SGD(.01)
    for i in range(3):
        with m.tape() as t:
            l = m.reduce_mean(m.square(e(d(m.T(X)))))
        g = t.gradient(l, d.trainable_variables + e.trainable_variables)
        a.apply_gradients(zip(g[:2], d.trainable_variables))
        b.apply_gradients(zip(g[2:], e.trainable_variables))
    return [l, *d.trainable_variables, *e.trainable_variables]


@scenario("constraints are applied after the update")
def _(m):
    keras = m.tf.keras
    d = keras.layers.Dense(2, kernel_constraint=keras.constraints.NonNeg(), bias_constraint=keras.constraints.MaxNorm(.1))
    d.build((None, 2))
    d.set_weights([np.array(W, "f"), np.array([.1, .2], "f")])
    opt = keras.optimizers.SGD(.1)
    for i in range(2):
        with m.tape() as t:
            l = m.reduce_mean(m.square(d(m.T(X)) + 1.))
        opt.apply_gradients(zip(t.gradient(l, d.trainable_variables), d.trainable_variables))
    return [l, *d.trainable_variables]


@scenario("frozen layer: trainable switched in the loop")
def _(m):
    a, b, opt = m.dense(W, [.1, .2]), m.dense(X, [.3, .1]), m.tf.keras.optimizers.SGD(.1)
    for i in range(4):
        a.trainable = i >= 2
        with m.tape() as t:
            l = m.reduce_mean(m.square(b(a(m.T(X)))))
        vs = a.trainable_variables + b.trainable_variables
        opt.build(a.variables + b.variables)
        opt.apply_gradients(zip(t.gradient(l, vs), vs))
    return [l, *a.variables, *b.variables]


@scenario("metrics updated by hand and reset each epoch")
def _(m):
    d, acc, auc, seen = m.dense(W, [.1, .2]), m.tf.keras.metrics.SparseCategoricalAccuracy(), m.tf.keras.metrics.AUC(), []
    opt = m.adam(.3)
    for epoch in range(3):
        acc.reset_state()
        for x, y in ((X, [0, 1]), (W, [1, 0])):
            with m.tape() as t:
                z = d(m.T(x))
                l = m.reduce_mean(m.tf.nn.sparse_softmax_cross_entropy_with_logits(m.I(y), z))
            opt.apply_gradients(zip(t.gradient(l, d.trainable_variables), d.trainable_variables))
            acc.update_state(m.I(y), z)
            auc.update_state(m.I(y), m.tf.nn.softmax(z)[:, 1])
        seen += [acc.result(), auc.result(), l]
    return seen


@scenario("straight-through estimator")
def _(m):
    w = m.V([.3, .7, -.2])
    with m.tape() as t:
        hard = w + m.stop_gradient(m.tf.round(w) - w)
        l = m.reduce_sum(hard * m.T([1., 2., 3.]))
    return [t.gradient(l, w), l]


@scenario("custom_gradient: second order, several inputs")
def _(m):
    @m.custom
    def f(a, b):
        return a * m.exp(b), lambda dy: (dy * m.exp(b) * 2., dy * a * m.exp(b))
    x, y = m.V(.5), m.V(1.5)
    with m.tape() as t2:
        with m.tape() as t1:
            z = f(x, y * y)
        g = t1.gradient(z, [x, y])
        s = g[0] * g[1]
    return [t2.gradient(s, [x, y]), *g, z]


@scenario("recompute_grad")
def _(m):
    w = m.V(W)
    f = m.tf.recompute_grad(lambda x: m.tanh(m.tanh(x) * x))
    with m.tape() as t:
        l = m.reduce_sum(f(m.T(X) @ w))
    return [t.gradient(l, w), l]


@scenario("the same variable twice among the sources; structures of targets")
def _(m):
    a, b = m.V([2.]), m.V([3.])
    with m.tape(persistent=True) as t:
        out = {"x": a * b, "y": [a * a, b * 5.]}
    return [t.gradient(out, [a, a, b]), t.gradient(out["y"], {"b": b})["b"],
            t.gradient(out["x"], (a, [b]))[1][0]]


@scenario("watched variables, in order")
def _(m):
    a, b, c = m.V([2.]), m.V([3.]), m.V([4.], trainable=False)
    with m.tape() as t:
        y = b * c + a
    return [float(len(t.watched_variables())), *t.watched_variables()]


@scenario("exception in an inner tape; the outer one goes on")
def _(m):
    a = m.V([2.])
    with m.tape() as outer:
        y = a * a
        try:
            with m.tape() as inner:
                z = y * a
                raise KeyError
        except KeyError:
            y = y * 3.
        l = y + z
    return [outer.gradient(l, a), l]


@scenario("float64 and complex parts")
def _(m):
    tf = m.tf
    a, b = tf.Variable([3., 1.], dtype=tf.float64), m.V([4., 2.])
    with m.tape() as t:
        z = tf.complex(tf.cast(a, tf.float32), b)
        l = m.reduce_sum(tf.abs(z)) + m.reduce_sum(tf.math.real(z * tf.math.conj(z)))
    return t.gradient(l, [a, b]) + [l]


@scenario("assignment to a slice; assign of a NumPy array")
def _(m):
    w = m.V(W)
    w[0].assign([5., 6.])
    w[1, 1].assign(7.)
    with m.tape() as t:
        l = m.reduce_sum(w * w)
    g = t.gradient(l, w)
    w.assign(w.numpy() * 2)
    return [g, w]


@scenario("scatter updates of a variable")
def _(m):
    w = m.V([1., 2., 3., 4.])
    w.scatter_nd_update([[0], [2]], [10., 30.])
    w.scatter_nd_add([[0], [0]], [1., 1.])
    with m.tape() as t:
        l = m.reduce_sum(w * w)
    return [t.gradient(l, w), w]


@scenario("reading a variable gives a tensor that stays")
def _(m):
    w = m.V([1., 2.])
    before, also = m.tf.identity(w), w.read_value()
    alias = m.tf.convert_to_tensor(w)
    w.assign([5., 6.])
    return [before, also, alias, w, w + before]


@scenario("assign inside stop_recording and after the tape")
def _(m):
    w = m.V([3.])
    with m.tape(persistent=True) as t:
        a = w * w
        with t.stop_recording():
            w.assign(w * 10.)
        b = w * w
    w.assign([0.])
    return [t.gradient(a, w), t.gradient(b, w), t.gradient(a + b, w), w]


@scenario("a target outside the tape; a source made after it")
def _(m):
    a = m.V([2.])
    b = a * a
    with m.tape(persistent=True) as t:
        c = a * 3.
    d = c * 2.
    return [t.gradient(b, a), t.gradient(c, a), t.gradient(d, a), t.gradient(d, c)]


@scenario("gradient of a source by itself, of a variable by itself")
def _(m):
    a, x = m.V([2.]), m.T([3.])
    with m.tape(persistent=True) as t:
        t.watch(x)
        y = x * a
    return [t.gradient(x, x), t.gradient(y, y), t.gradient([y, x], x)]


@scenario("early stopping and restoring the best weights")
def _(m):
    w, best, weights, wait, steps = m.V(W), 1e9, None, 0, 0
    for i in range(20):
        with m.tape() as t:
            l = m.reduce_sum(m.square(m.T(X) @ w - 1.))
        if float(l) < best - 1e-3:
            best, weights, wait = float(l), w.numpy(), 0
        else:
            wait += 1
            if wait == 2:
                break
        w.assign_sub((.02 if i < 6 else .2) * t.gradient(l, w))
        steps += 1
    w.assign(weights)
    return [best, float(steps), w]


@scenario("sequence of different lengths, state kept between batches")
def _(m):
    cell, state, opt = m.dense(W, [.1, .2]), m.T([[0., 0.]]), m.adam(.05)
    for length in (1, 3, 2, 3):
        with m.tape() as t:
            l = 0.
            for i in range(length):
                state = cell(state + m.T(X[i % 2:i % 2 + 1]))
                l += m.reduce_sum(m.square(state - 1.))
        opt.apply_gradients(zip(t.gradient(l, cell.trainable_variables), cell.trainable_variables))
        state = m.stop_gradient(state)
    return [l, state, *cell.trainable_variables]


@scenario("Sequential model with fit's loss objects, weights for samples")
def _(m):
    keras = m.tf.keras
    model = keras.Sequential([keras.Input((2,)), m.dense(W, [.1, .2]), keras.layers.Softmax()])
    loss, opt = keras.losses.SparseCategoricalCrossentropy(), m.adam(.1)
    for i in range(3):
        with m.tape() as t:
            l = loss(m.I([0, 1]), model(m.T(X), training=True), sample_weight=m.T([1., .5]))
        g = t.gradient(l, model.trainable_variables)
        opt.apply_gradients(zip(g, model.trainable_variables))
    return [l, *model.trainable_variables]


@scenario("functional model shared between two losses, persistent tape")
def _(m):
    keras = m.tf.keras
    inputs = keras.Input((2,))
    trunk = m.dense(W, [.1, .2])(inputs)
    model = keras.Model(inputs, [m.dense(X, [.3, .1])(trunk), trunk * 2.])
    for i in range(2):
        with m.tape(persistent=True) as t:
            a, b = model(m.T(X))
            la, lb = m.reduce_sum(a * a), m.reduce_sum(b)
        vs = model.trainable_variables
        for l in (la, lb):
            for v, g in zip(vs, t.gradient(l, vs)):
                if g is not None:
                    v.assign_sub(.01 * g)
    return [la, lb, *vs]


@scenario("tf.function under a tape: reads before and after an assignment inside")
def _(m):
    w, x = m.V([2., 3.]), m.T([1., 2.])

    @m.tf.function
    def f(x):
        a = w * x
        w.assign(w * x)
        b = w * w
        w.assign_add(x)
        return m.reduce_sum(a) + m.reduce_sum(b) + m.reduce_sum(w * 5.)

    with m.tape() as t:
        t.watch(x)
        l = f(x)
    return t.gradient(l, [w, x]) + [l, w]
