"""The judge's proxies for objects of the program, and what the tests may request from them.

The program cannot change any of this: the role of a proxy depends only on the text of the tests and on how the judge
received the object.
"""

import ast, re

# Methods of data types. A test that calls one expects data, so an object of the program must not answer instead.
DATA = (str, bytes, bytearray, list, tuple, dict, set, frozenset, int, float, complex, range, collections.deque,
        collections.Counter, collections.OrderedDict, decimal.Decimal, fractions.Fraction, datetime.date,
        datetime.datetime, datetime.time, datetime.timedelta)
METHODS = {name for kind in DATA for name in dir(kind) if callable(getattr(kind, name))}


def tested_classes(job):
    """Classes that the tests are about, with the names of their members: classes that the prompt, setup or tests define
    (also in comments), and classes that the tests construct by name, pass to `isinstance` or catch."""
    written = "\n".join([job["prompt"] or "", job["setup"], *job["scripts"]])
    line = r"(?m)^[ \t]*(?:#[ \t]*)?"
    classes = set(re.findall(line + r"class[ \t]+(\w+)[ \t]*[(:]", written))
    members = set(re.findall(line + r"(?:async[ \t]+)?def[ \t]+(\w+)[ \t]*\([ \t]*self\b", written))
    members |= set(re.findall(r"\bself\.(\w+)", written))
    for text in [job["setup"], *job["scripts"]]:
        for node in ast.walk(ast.parse(text)):
            named = []
            if isinstance(node, ast.ExceptHandler) and node.type is not None:
                named = [node.type]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in ("isinstance", "issubclass"):
                    named = node.args[1:]
                elif re.fullmatch(r"_*[A-Z][A-Za-z0-9]*", node.func.id):
                    named = [node.func]
            classes |= {n.id for part in named for n in ast.walk(part) if isinstance(n, ast.Name)}
    functions = set(re.findall(line + r"(?:async[ \t]+)?def[ \t]+(\w+)", written))
    imported = {name for names in re.findall(line + r"(?:from[ \t].*[ \t])?import[ \t](.*)", written)
                for name in re.findall(r"\w+", names)}
    # `isinstance(f(1), str)` and `Counter(f(1))` are about data.
    classes = {name for name in classes - functions - imported if not hasattr(builtins, name)}
    return classes - {job["function"]}, members


class Remote:
    """An object of the program. It is equal only to itself and does not support arithmetic.

    The tests may use every method of a class that they are about, and of the objects they create with it: these are
    under test. Any other object is in the place of a value, so it answers only what cannot imitate a value: it has no
    methods of data types, and its length, truth and items must agree.
    """

    def __init__(self, number, role="value"):
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_role", role)
        object.__setattr__(self, "_taken", None)

    def __call__(self, *args, **kwargs):
        value = exam.ask("call", self, *args, **kwargs)
        if type(value) is Remote and role(self) == "class":
            object.__setattr__(value, "_role", "made")
        return value

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if role(self) not in ("class", "made"):
            if name in METHODS and name not in exam.members:
                raise AttributeError(f"the tests use `{name}` of data, but the value is an object of the program")
            if role(self) == "value" and not exam.classes:
                raise AttributeError(f"`{name}` is used on an object of a class unknown to the tests")
        return exam.ask("get", self, name)

    def __setattr__(self, name, value):
        exam.ask("set", self, name, value)

    def __getitem__(self, key):
        return exam.ask("item", self, key)

    def __setitem__(self, key, value):
        exam.ask("setitem", self, key, value)

    def __iter__(self):
        if role(self) in ("class", "made"):
            return RemoteIterator(Taken(self, keep=False))
        return RemoteIterator(taken(self))

    def __next__(self):
        return taken(self).advance()

    def __len__(self):
        length = exam.ask("len", self)
        if role(self) not in ("class", "made") and length != sum(1 for _ in self):
            raise Broken("an object whose length differs from its number of items")
        return length

    def __bool__(self):
        truth = exam.ask("bool", self)
        if role(self) not in ("class", "made"):
            try:
                full = len(self) > 0
            except TypeError:
                return truth
            if truth is not full:
                raise Broken("an object whose truth value contradicts its length")
        return truth

    def __str__(self):
        return exam.ask("str", self)

    def __instancecheck__(self, value):
        return type(value) is Remote and exam.ask("isinstance", value, self)

    def __eq__(self, other):
        return type(other) is Remote and object.__getattribute__(other, "_number") == object.__getattribute__(self, "_number")

    def __hash__(self):
        return hash(object.__getattribute__(self, "_number"))

    def __repr__(self):
        return "an object of the program"

    def __deepcopy__(self, memo):
        return self

    def __copy__(self):
        return self


def role(remote):
    """The role of an object. class: the tests are about it. made: the tests created it with such a class. global:
    another name of the program. value: anything else, such as the result of a function."""
    return object.__getattribute__(remote, "_role")


def taken(remote):
    """The items of an object, shared by all iterations over it."""
    if object.__getattribute__(remote, "_taken") is None:
        object.__setattr__(remote, "_taken", Taken(remote))
    return object.__getattribute__(remote, "_taken")


class Taken:
    """The items of an object. Kept items are requested only once, so a second iteration finds the same items."""

    def __init__(self, remote, keep=True):
        self.remote, self.keep = remote, keep
        self.source, self.items, self.start, self.ended = None, [], 0, False

    def iterator(self):
        if self.source is None:
            self.source = exam.ask("iter", self.remote)
            if type(self.source) is not Remote:
                raise Broken("invalid iterator")
        return self.source

    def at(self, place):
        while len(self.items) <= place:
            if self.ended:
                raise StopIteration
            try:
                item = exam.ask("next", self.iterator())
            except StopIteration:
                self.ended = True
                raise
            if not self.keep:
                return item
            self.items.append(item)
        return self.items[place]

    def advance(self):
        item = self.at(self.start)
        self.start += 1
        return item


class RemoteIterator:
    """An iterator over the items of an object of the program."""

    def __init__(self, taken):
        self.taken, self.place = taken, taken.start
        taken.iterator()

    @property
    def _number(self):
        return object.__getattribute__(self.taken.iterator(), "_number")

    def __iter__(self):
        return self

    def __next__(self):
        item = self.taken.at(self.place)
        self.place += self.taken.keep
        return item
