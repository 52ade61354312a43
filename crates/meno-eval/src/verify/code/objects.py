"""The judge's stand-ins for objects of the program, and what the tests may ask of them.

The program cannot change any of this: what a stand-in is depends on the text of the tests and on how the judge came by
it.
"""

import ast, re

# Methods of data. A test that calls one expects data, and an object of the program must not answer in its place.
DATA = (str, bytes, bytearray, list, tuple, dict, set, frozenset, int, float, complex, range, collections.deque,
        collections.Counter, collections.OrderedDict, decimal.Decimal, fractions.Fraction, datetime.date,
        datetime.datetime, datetime.time, datetime.timedelta)
METHODS = {name for kind in DATA for name in dir(kind) if callable(getattr(kind, name))}


def tested_classes(job):
    """Classes that the tests are about, and the names of their members: what the prompt, the setup or the tests define,
    if only in a comment, and what the tests construct by the name of a class, name to `isinstance` or catch."""
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
    """An object of the program. It is equal to nothing but itself, and takes no part in arithmetic.

    The tests may ask anything of a class that they are about, and of what they make with it: that is under test. Any
    other object stands where the tests expect a value, so it answers only what cannot pass for one: no method of data,
    and its length, its truth and its items must agree.
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
                raise AttributeError(f"`{name}` is asked of an object of the program, where the tests expect data")
            if role(self) == "value" and not exam.classes:
                raise AttributeError(f"`{name}` is asked of an object of a class that the tests do not know")
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
            raise Broken("an object that has another number of items than it says")
        return length

    def __bool__(self):
        truth = exam.ask("bool", self)
        if role(self) not in ("class", "made"):
            try:
                full = len(self) > 0
            except TypeError:
                return truth
            if truth is not full:
                raise Broken("an object whose truth is not that of its length")
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
    """class: the tests are about it. made: an object that the tests made with one. global: another name of the program.
    value: anything else, such as the result of a function."""
    return object.__getattribute__(remote, "_role")


def taken(remote):
    """The items of an object that every look at it shares."""
    if object.__getattribute__(remote, "_taken") is None:
        object.__setattr__(remote, "_taken", Taken(remote))
    return object.__getattribute__(remote, "_taken")


class Taken:
    """The items of an object. Those that are kept are asked for once: a second look at them finds the same."""

    def __init__(self, remote, keep=True):
        self.remote, self.keep = remote, keep
        self.source, self.items, self.start, self.ended = None, [], 0, False

    def iterator(self):
        if self.source is None:
            self.source = exam.ask("iter", self.remote)
            if type(self.source) is not Remote:
                raise Broken("no iterator")
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
    """A walk over the items of an object of the program."""

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
