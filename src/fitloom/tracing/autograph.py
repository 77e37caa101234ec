# SPDX-License-Identifier: Apache-2.0
"""Python control flow on tensors inside tf.function, converted to tf.cond and tf.while_loop.

A function runs as it was written; only when it uses a traced tensor as a Python bool, number or iterator is its source
rewritten and traced again. In the rewritten source `if`, `while`, `for`, `and`, `or`, `not` and conditional
expressions ask at run time whether a tensor decides, and stay plain Python where none does. Not converted (the error
then shows tf.cond and tf.while_loop): `break`, `continue` and `return` inside a loop over tensors.
"""
import ast
import functools
import inspect
import textwrap
import types

from fitloom.base import nest
from fitloom.engine.recording import convert_to_tensor, is_tensor
from fitloom.engine.tensor import Tensor
from fitloom.tracing import control_flow

_CACHE: dict = {}
_OURS = "__fitloom_autograph__"


class Undefined:
    """Stands for a name that has no value yet."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"<'{self.name}' has no value here>"


# ---------------------------------------------------------------- what the rewritten source calls

def _decides(value):
    """Whether a traced tensor decides (its value is not known)."""
    if getattr(value.__class__, "is_variable", False):
        value = value.value_tensor()
    return isinstance(value, Tensor) and control_flow.known_value(value) is None


def _check_defined(names, values, what):
    for name, value in zip(names, values):
        if isinstance(value, Undefined):
            raise ValueError(f"'{name}' must have a value before the {what} on a tensor, because it is used after it: "
                             "give it one in every branch or before.")


def if_statement(test, then, otherwise, values, names):
    """Run one of two branches that map the names' values to new ones."""
    if not _decides(test):
        return then(*values) if test else otherwise(*values)
    def branch(function):
        def run():
            results = function(*values)
            return [convert_to_tensor(r) if is_tensor(r) or isinstance(r, (int, float, bool)) else r for r in results]
        return run
    outcome = control_flow.cond(test, branch(then), branch(otherwise))
    return tuple(outcome)


def if_return(test, then, otherwise):
    """Return what one of two branches returns."""
    if not _decides(test):
        return then() if test else otherwise()
    return control_flow.cond(test, then, otherwise)


def while_statement(test, body, values, names):
    """Repeat the body while the test holds; values are those of the names that the body assigns."""
    if not _decides(test(*values)):
        while test(*values):
            values = body(*values)
            if _decides(test(*values)):
                break
        else:
            return values
    _check_defined(names, values, "while loop")
    return tuple(control_flow.while_loop(test, body, [convert_to_tensor(v) for v in values]))


def for_statement(iterated, body, values, names):
    """Run the body for each element; over a range of unknown length as a loop on the device."""
    if isinstance(iterated, _TensorRange):
        _check_defined(names, values, "for loop")
        structure = [convert_to_tensor(v) for v in values]

        def step(i, *flat):
            return [i + iterated.delta, *body(i, *flat)]
        result = control_flow.while_loop(lambda i, *_: i < iterated.limit, step, [iterated.start, *structure])
        return tuple(result[1:])
    for element in iterated:
        values = body(element, *values)
    return values


class _TensorRange:
    def __init__(self, *arguments):
        arguments = [convert_to_tensor(a) for a in arguments]
        self.start, self.limit = (convert_to_tensor(0), arguments[0]) if len(arguments) == 1 else arguments[:2]
        self.delta = arguments[2] if len(arguments) > 2 else convert_to_tensor(1)


def both(first, second):
    """`first() and second()`."""
    left = first()
    if not is_tensor(left):
        return left and second()
    return _logic("logical_and")(left, second()) if _decides(left) else (left and second())


def either(first, second):
    """`first() or second()`."""
    left = first()
    if not is_tensor(left):
        return left or second()
    return _logic("logical_or")(left, second()) if _decides(left) else (left or second())


def negate(value):
    """`not value`."""
    return _logic("logical_not")(value) if _decides(value) else not value


def _logic(name):
    from fitloom import ops
    return getattr(ops, name)


def call(function):
    """Return what to call instead: user functions are converted too; a range over tensors becomes a loop."""
    if function is range or getattr(function, "__name__", "") == "range" and \
            getattr(function, "__module__", "").startswith("fitloom"):
        def either_range(*arguments, **keywords):
            if any(_decides(a) for a in arguments):
                return _TensorRange(*arguments)
            if function is range:
                return range(*[int(a) if is_tensor(a) else a for a in arguments])
            return function(*arguments, **keywords)
        return either_range
    target = function.__func__ if isinstance(function, types.MethodType) else function
    module = getattr(target, "__module__", None) or ""
    if not isinstance(target, types.FunctionType) or module.split(".")[0] in ("fitloom", "jax", "numpy", "builtins"):
        return function
    return convert(function)


# ---------------------------------------------------------------- rewriting

def _assigned(statements):
    """Names that statements assign (not inside nested functions)."""
    found = []

    class Visitor(ast.NodeVisitor):
        def visit_Name(self, node):
            if isinstance(node.ctx, (ast.Store, ast.Del)) and node.id not in found:
                found.append(node.id)

        def visit_FunctionDef(self, node):
            if node.name not in found and not node.name.startswith(_OURS):
                found.append(node.name)

        def visit_Lambda(self, node):
            pass

        visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_Lambda

    for statement in statements:
        Visitor().visit(statement)
    return [n for n in found if not n.startswith(_OURS)]


def _contains(statements, kinds, into_loops=True):
    for statement in statements:
        stack = [statement]
        while stack:
            node = stack.pop()
            if isinstance(node, kinds):
                return True
            if isinstance(node, (ast.FunctionDef, ast.Lambda, ast.AsyncFunctionDef, ast.ClassDef)):
                continue
            if not into_loops and isinstance(node, (ast.For, ast.While)):
                continue
            stack.extend(ast.iter_child_nodes(node))
    return False


def _always_returns(statements):
    if not statements:
        return False
    last = statements[-1]
    if isinstance(last, (ast.Return, ast.Raise)):
        return True
    return isinstance(last, ast.If) and _always_returns(last.body) and _always_returns(last.orelse)


class _Rewriter(ast.NodeTransformer):
    """Rewrites one function body; nested functions keep their own scope."""

    def __init__(self):
        self.count = 0

    def name(self, kind):
        self.count += 1
        return f"{_OURS}{kind}_{self.count}"

    def block(self, statements):
        """Rewrite a list of statements; an `if` with returns takes the rest of the list into its branches."""
        done = []
        for position, statement in enumerate(statements):
            if isinstance(statement, ast.If) and _contains([statement], ast.Return):
                rest = statements[position + 1:]
                then = statement.body + ([] if _always_returns(statement.body) else rest)
                otherwise = statement.orelse + ([] if _always_returns(statement.orelse) else rest)
                return done + self._if_return(statement, then, otherwise)
            result = self.visit(statement)
            done += result if isinstance(result, list) else [result]
        return done

    def _expression(self, text, **parts):
        tree = ast.parse(text, mode="eval").body

        class Fill(ast.NodeTransformer):
            def visit_Name(self, node):
                return parts.get(node.id, node)
        return Fill().visit(tree)

    def _function(self, name, arguments, body, returns=None):
        if returns is not None:
            body = body + [ast.Return(ast.Tuple([ast.Name(r, ast.Load()) for r in returns], ast.Load()))]
        elif not _always_returns(body):
            body = body + [ast.Return(ast.Constant(None))]
        return ast.FunctionDef(
            name=name, args=ast.arguments([], [ast.arg(a) for a in arguments], None, [], [], None, []),
            body=body, decorator_list=[], type_params=[])

    def _if_return(self, node, then, otherwise):
        assigned = list(_assigned(then + otherwise))
        first, second = self.name("then"), self.name("otherwise")
        functions = []
        for name, statements in ((first, then), (second, otherwise)):
            function = self._function(name, [], self.block(list(statements)))
            # names assigned inside start with the value they have outside
            function.args.args = [ast.arg(a) for a in assigned]
            functions.append(function)
        values = self._current(assigned)
        bind = [ast.Assign([ast.Name(f"{_OURS}values_{self.count}", ast.Store())], values)]
        key = f"{_OURS}values_{self.count}"
        result = self._expression(
            f"{_OURS}.if_return(TEST, lambda: {first}(*{key}), lambda: {second}(*{key}))", TEST=self.visit(node.test))
        return functions + bind + [ast.Return(result)]

    def _current(self, names):
        """A tuple of the names' values; an undefined one gives Undefined."""
        parts = ", ".join(f"{_OURS}.value_of(lambda: {n}, '{n}')" for n in names)
        return ast.parse(f"({parts}{',' if names else ''})", mode="eval").body

    def visit_If(self, node):
        if _contains([node], (ast.Break, ast.Continue), into_loops=False):
            return self._generic(node)
        names = _assigned(node.body + node.orelse)
        then, otherwise = self.name("then"), self.name("otherwise")
        statements = [self._function(then, names, self.block(node.body), names),
                      self._function(otherwise, names, self.block(node.orelse) or [ast.Pass()], names)]
        value = self._expression(f"{_OURS}.if_statement(TEST, {then}, {otherwise}, VALUES, {tuple(names)!r})",
                                 TEST=self.visit(node.test), VALUES=self._current(names))
        return statements + self._store(names, value)

    def _store(self, names, value):
        if not names:
            return [ast.Expr(value)]
        return [ast.Assign([ast.Tuple([ast.Name(n, ast.Store()) for n in names], ast.Store())], value)]

    def _generic(self, node):
        node.test = self.visit(node.test) if hasattr(node, "test") else None
        node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        return node

    def visit_While(self, node):
        if _contains(node.body, (ast.Break, ast.Continue, ast.Return)) or node.orelse:
            return self._generic(node)
        names = _assigned(node.body)
        test, body = self.name("test"), self.name("body")
        statements = [self._function(test, names, [ast.Return(self.visit(node.test))]),
                      self._function(body, names, self.block(node.body), names)]
        value = self._expression(f"{_OURS}.while_statement({test}, {body}, VALUES, {tuple(names)!r})",
                                 VALUES=self._current(names))
        return statements + self._store(names, value)

    def visit_For(self, node):
        node.iter = self.visit(node.iter)
        if _contains(node.body, (ast.Break, ast.Continue, ast.Return)) or node.orelse:
            node.body = self.block(node.body)
            return node
        targets = _assigned([ast.Assign([node.target], ast.Constant(None))])
        names = [n for n in _assigned(node.body) if n not in targets]
        body, element = self.name("body"), self.name("element")
        inner = [ast.Assign([node.target], ast.Name(element, ast.Load()))] + self.block(node.body)
        statements = [self._function(body, [element] + names, inner, names)]
        value = self._expression(f"{_OURS}.for_statement(ITER, {body}, VALUES, {tuple(names)!r})",
                                 ITER=node.iter, VALUES=self._current(names))
        return statements + self._store(names, value)

    def visit_BoolOp(self, node):
        values = [self.visit(v) for v in node.values]
        function = "both" if isinstance(node.op, ast.And) else "either"
        result = values[-1]
        for value in reversed(values[:-1]):
            result = self._expression(f"{_OURS}.{function}(lambda: LEFT, lambda: RIGHT)", LEFT=value, RIGHT=result)
        return result

    def visit_UnaryOp(self, node):
        self.generic_visit(node)
        if isinstance(node.op, ast.Not):
            return self._expression(f"{_OURS}.negate(VALUE)", VALUE=node.operand)
        return node

    def visit_IfExp(self, node):
        self.generic_visit(node)
        return self._expression(f"{_OURS}.if_return(TEST, lambda: THEN, lambda: OTHERWISE)", TEST=node.test,
                                THEN=node.body, OTHERWISE=node.orelse)

    def visit_Call(self, node):
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in ("super", "locals", "globals", "vars", "print"):
            return node
        node.func = self._expression(f"{_OURS}.call(FUNCTION)", FUNCTION=node.func)
        return node

    def visit_FunctionDef(self, node):
        return node

    visit_Lambda = visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef
    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_FunctionDef


def value_of(read, name):
    """Return read(), or Undefined where the name has no value."""
    try:
        return read()
    except (NameError, UnboundLocalError):
        return Undefined(name)


def convert(function):
    """Return the function with control flow on tensors converted; the function itself where that cannot be done."""
    if isinstance(function, types.MethodType):
        converted = convert(function.__func__)
        return function if converted is function.__func__ else types.MethodType(converted, function.__self__)
    if not isinstance(function, types.FunctionType):
        return function
    key = function.__code__
    maker = _CACHE.get(key)
    if maker is None:
        maker = _CACHE[key] = _compile(function) or False
    if maker is False:
        return function
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or ()))
    made = maker(function, cells)
    functools.update_wrapper(made, function)
    return made


def _compile(function):
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef) or _contains(
            definition.body, (ast.Nonlocal, ast.Global, ast.Yield, ast.YieldFrom, ast.Await)):
        return None
    definition.decorator_list = []
    rewriter = _Rewriter()
    definition.body = rewriter.block(definition.body)
    free = list(function.__code__.co_freevars)
    # closures keep working: a factory function has the free names as locals, and the cells are put in afterwards
    factory = ast.FunctionDef(
        name=f"{_OURS}factory", args=ast.arguments([], [ast.arg(n) for n in free], None, [], [], None, []),
        body=[definition, ast.Return(ast.Name(definition.name, ast.Load()))], decorator_list=[], type_params=[])
    module = ast.fix_missing_locations(ast.Module([factory], []))
    code = compile(module, inspect.getsourcefile(function) or "<converted>", "exec")

    def make(original, cells):
        names = dict(original.__globals__)
        names[_OURS] = _namespace()
        space = _Globals(original.__globals__, names[_OURS])
        exec(code, space)
        made = space[f"{_OURS}factory"](*[None] * len(free))
        closure = tuple(cells.get(name) or made_cell for name, made_cell in zip(
            made.__code__.co_freevars, made.__closure__ or ()))
        result = types.FunctionType(made.__code__, space, original.__name__, original.__defaults__, closure or None)
        result.__kwdefaults__ = original.__kwdefaults__
        return result
    return make


class _Globals(dict):
    """The original module's globals, read live, with our own name added."""

    def __init__(self, original, namespace):
        super().__init__(original)
        self.original = original
        self[_OURS] = namespace

    def __missing__(self, key):
        return self.original[key]


def _namespace():
    return types.SimpleNamespace(
        if_statement=if_statement, if_return=if_return, while_statement=while_statement, for_statement=for_statement,
        both=both, either=either, negate=negate, call=call, value_of=value_of)
