# SPDX-License-Identifier: Apache-2.0
"""Small functions with Python control flow on tensors, for any module with TensorFlow's names.

`python tests/tracing/autograph_cases.py` (in an environment with TensorFlow) records what `tf.function` of TensorFlow
returns for each into `tests/golden/autograph.json`
(where it refuses, what the function returns undecorated); `test_autograph.py` compares.
"""
import json
import pathlib

import numpy as np

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "autograph.json"
CASES = []
tf = None            # the module under test, set by `run`


def case(*inputs):
    """Each of the inputs is one call's arguments (a tuple), Python numbers as float32 or int32 tensors."""
    def add(function):
        CASES.append((function.__name__, function, inputs))
        return function
    return add


@case((2.,), (-2.,))
def if_else(x):
    if x > 0:
        y = x * 2.
    else:
        y = -x
    return y


@case((2.,), (-2.,))
def if_without_else(x):
    y = x + 1.
    if x > 0:
        y = y * 10.
    return y


@case((3.,), (1.5,), (-1.,))
def elif_chain(x):
    if x > 2:
        y = tf.constant(2)
    elif x > 1:
        y = tf.constant(1)
    else:
        y = tf.constant(0)
    return y


@case((3.,), (-1.,), (0.5,))
def early_returns(x):
    if x > 1.:
        return tf.constant(1.)
    if x < 0.:
        return tf.constant(0.)
    return x * 2.


@case((3.,), (-1.,))
def return_in_both(x):
    if x > 0:
        return x, x * 2.
    else:
        return -x, x


@case((1., 2.), (2., 1.), (-1., -2.))
def nested_ifs(x, y):
    r = x
    if x > 0:
        if y > x:
            r = y
        else:
            r = x * 10.
    elif y < x:
        r = x - y
    return r


@case((3., 4.), (-3., 4.), (3., -4.))
def logic(x, y):
    if x > 0 and y > 0:
        r = 1
    elif x > 0 or not y > 0:
        r = 2
    else:
        r = 3
    return r


@case((0.5,), (2.,), (-1.,))
def chained_comparison(x):
    if 0. < x < 1.:
        return x
    return -x


@case((2.,), (-2.,))
def conditional_expression(x):
    return (x * 2. if x > 0 else -x) + 1.


@case((5,), (1,), (27,))
def while_collatz(n):
    steps = 0
    while n != 1:
        if n % 2 == 0:
            n = n // 2
        else:
            n = 3 * n + 1
        steps += 1
    return steps


@case((10,), (3,), (0,))
def while_break(n):
    i = 0
    while i < n:
        if i == 5:
            break
        i += 1
    return i


@case((10,), (3,))
def while_continue(n):
    i, total = 0, 0
    while i < n:
        i += 1
        if i % 2 == 0:
            continue
        total += i
    return total


@case((10,), (4,), (7,))
def while_break_and_continue(n):
    i, total = 0, 0
    while True:
        i += 1
        if i > n:
            break
        if i % 3 == 0:
            continue
        if total > 20:
            break
        total += i
    return total, i


@case((10,), (0,))
def for_range(n):
    total = 0
    for i in tf.range(n):
        total += i * i
    return total


@case((2, 10), (5, 6))
def for_range_with_bounds(a, b):
    total = 0
    for i in tf.range(a, b, 3):
        total += i
    return total


@case((10,), (2,))
def for_break(n):
    total = 0
    for i in tf.range(n):
        if i > 3:
            break
        total += i
    return total


@case((10,), (2,))
def for_continue(n):
    total = 0
    for i in tf.range(n):
        if i % 2 == 1:
            continue
        total += i
    return total


@case((4,), (1,))
def nested_loops(n):
    total = 0
    for i in tf.range(n):
        for j in tf.range(i):
            total += i * j
    return total


@case((6,), (3,))
def nested_loops_with_breaks(n):
    total = 0
    for i in tf.range(n):
        for j in tf.range(n):
            if j > i:
                break
            total += 1
        if total > 8:
            break
    return total


@case(([1., 2., 3.],), ([-1., 2., -3.],))
def for_rows(x):
    total = 0.
    for row in x:
        if row > 0:
            total += row
    return total


@case((list(np.arange(20.) - 5),))
def for_many_rows(x):
    total, count = 0., 0
    for row in x:
        if row > 10.:
            break
        if row < 0.:
            continue
        total += row * row
        count += 1
    return total, count


@case(([1., 2., 3.],))
def python_loop_with_list(x):
    parts = []
    for i in range(3):
        parts.append(x[i] * float(i))
    return tf.stack(parts)


@case(([1., 5., 3.],))
def python_loop_with_tensor_if(x):
    best = x[0]
    for i in range(1, 3):
        if x[i] > best:
            best = x[i]
    return best


@case(([1., 5., 3.],))
def python_loop_with_tensor_break(x):
    total = 0.
    for i in range(3):
        if x[i] > 4.:
            break
        total += x[i]
    return total


@case(([1., 5., 3.],))
def enumerate_and_zip(x):
    total = 0.
    for i, (a, b) in enumerate(zip([1., 2.], [3., 4.])):
        total += a * b * x[i]
    return total


@case((3.,), (-3.,))
def python_branch_stays(x):
    debug = False
    if debug:
        x = undefined_name  # noqa: F821
    mode = "double"
    if mode == "double" and x > 0:
        return x * 2.
    return x


@case((2.,), (-2.,))
def temporary_in_one_branch(x):
    if x > 0:
        t = x * 3.
        y = t + 1.
    else:
        y = x
    return y


@case((2.,), (-2.,))
def structures_in_branches(x):
    d = {"a": x, "b": [x, x]}
    if x > 0:
        d = {"a": x * 2., "b": [x, x + 1.]}
    return d


@case((4,), (0,))
def structures_in_loops(n):
    pair = (0, 1)
    for _ in tf.range(n):
        pair = (pair[1], pair[0] + pair[1])
    return pair


@case((2.,), (-2.,))
def calls_helpers(x):
    def helper(v):
        if v > 0:
            return v * 2.
        return -v
    return helper(x) + helper(x - 1.)


@case((2.,), (-2.,))
def closure(x):
    scale = 3.

    def inner(v):
        if v > 0:
            return v * scale
        else:
            return v / scale
    scale = 4.
    return inner(x)


@case((5,), (2,))
def recursion_in_python(n):
    def power(k):
        return n * power(k - 1) if k > 0 else 1
    return power(3)


@case((2.,), (-2.,))
def lambda_with_branch(x):
    f = lambda v: v * 2. if v > 0 else -v
    return f(x)


class Thing:
    def __init__(self):
        self.scale, self.state = 2., 0.

    def call(self, x):
        if x > 0:
            return x * self.scale
        return self.helper(x)

    def helper(self, x):
        while x < 10.:
            x = x * x + 1.
        return x


@case((2.,), (-2.,))
def methods(x):
    return Thing().call(x)


@case((2.,), (-2.,))
def attribute_state(x):
    thing = Thing()
    thing.state = x
    if x > 0:
        thing.state = thing.state * 5.
    return thing.state


@case((2.,), (-2.,))
def dictionary_state(x):
    d = {"k": x}
    if x > 0:
        d["k"] = d["k"] * 5.
    return d["k"]


@case((3,), (0,))
def attribute_in_a_loop(n):
    thing = Thing()
    thing.state = tf.constant(1.)
    for _ in tf.range(n):
        thing.state = thing.state * 2.
    return thing.state


@case((2.,), (-2.,))
def default_arguments(x, factor=3., *rest, offset=1.):
    if x > 0:
        return x * factor + offset
    return x


@case((2.,), (5.,))
def newton(x):
    y = x
    while tf.abs(y * y - x) > 1e-4:
        y = (y + x / y) / 2.
    return y


@case((4,), (0,))
def no_loop_variable_before(n):
    x = 0
    for i in tf.range(n):
        y = i * 2
        x += y
    return x


@case((12,), (13,))
def greatest_divisor(n):
    d = n - 1
    while d > 1:
        if n % d == 0:
            break
        d -= 1
    return d


@case((2.,), (-2.,))
def is_none_and_in(x):
    y = None
    names = ["a", "b"]
    if y is None and "a" in names:
        y = x
    if y is not None and y > 0:
        y = y * 2.
    return y


@case(([3., 1., 2.],), ([1., 2., 3.],))
def bubble(x):
    a, b, c = x[0], x[1], x[2]
    if a > b:
        a, b = b, a
    if b > c:
        b, c = c, b
    if a > b:
        a, b = b, a
    return tf.stack([a, b, c])


@case((2.,), (-2.,))
def with_block(x):
    with tf.name_scope("scope"):
        if x > 0:
            y = x * 2.
        else:
            y = x
    return y + 1.


@case((2.,), (-2.,))
def return_inside_with(x):
    with tf.name_scope("scope"):
        if x > 0:
            return x * 2.
        return x


@case((2.,), (-2.,))
def gradient_inside(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        if x > 0:
            y = x * x
        else:
            y = x * 3.
    return tape.gradient(y, x)


@case((4.,), (-1.,))
def try_block(x):
    try:
        if x > 0:
            y = tf.sqrt(x)
        else:
            y = x
    finally:
        z = 1.
    return y + z


@case((3,), (8,))
def while_else(n):
    i = 0
    while i < n:
        if i == 5:
            break
        i += 1
    else:
        i = -1
    return i


@case((5,), (0,))
def for_with_list_of_python_numbers(n):
    total = 0
    for w in [1, 2, 3]:
        if n > w:
            total += w * n
    return total


@case((3.,), (0.5,))
def dtype_float64(x):
    y = tf.cast(x, tf.float64)
    if y > 1.:
        y = y / 3.
    return y


@case((6,), (1,))
def fibonacci(n):
    a, b = 0, 1
    i = 0
    while i < n and b < 100:
        a, b = b, a + b
        i += 1
    return a


@case((True,), (False,))
def boolean_input(flag):
    if flag:
        return 1
    return 0


@case((True, False), (False, False))
def not_and_xor(a, b):
    if not a and not b:
        return 1
    if a != b:
        return 2
    return 3


@case(([1., 2.], 3), ([1., 2.], 0))
def matrix_power(x, n):
    y = tf.eye(2)
    m = tf.linalg.diag(x)
    for _ in tf.range(n):
        y = y @ m
    return y


def plain(result):
    """Return nested results as lists, dictionaries and numbers."""
    if isinstance(result, dict):
        return {k: plain(v) for k, v in result.items()}
    if isinstance(result, (list, tuple)):
        return [plain(v) for v in result]
    return np.asarray(result.numpy() if hasattr(result, "numpy") else result).tolist()


def run(module, function, inputs):
    """Return the results of all calls of one compiled function."""
    global tf
    tf = module

    def tensor(v):
        array = np.array(v)
        return module.constant(array.astype({"f": "float32", "i": "int32", "b": "bool"}[array.dtype.kind]))
    compiled = module.function(function)
    return [plain(compiled(*map(tensor, arguments))) for arguments in inputs]


if __name__ == "__main__":
    import tensorflow
    results = {}
    for name, function, inputs in CASES:
        try:
            results[name] = run(tensorflow, function, inputs)
        except Exception as error:          # what TensorFlow cannot convert, its eager execution answers
            print(name, type(error).__name__, str(error).strip().splitlines()[-1][:150])
            tensorflow.config.run_functions_eagerly(True)
            results[name] = run(tensorflow, function, inputs)
            tensorflow.config.run_functions_eagerly(False)
    GOLDEN.write_text(json.dumps(results, separators=(",", ":")).replace('],"', '],\n"') + "\n")
    print(len(results), "functions recorded with TensorFlow", tensorflow.__version__)
