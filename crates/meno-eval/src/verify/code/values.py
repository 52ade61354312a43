"""Exchanges values as plain JSON between the program under test and the judge. Both sides start with this file.

Only contents are transferred: numbers, strings, collections of exactly the built-in types. Methods that a class of the
program overrides are not transferred; the judge rebuilds genuine values and compares those. Any other object is
transferred as a number, which only its own side can use.
"""

import builtins, collections, datetime, decimal, fractions, json, os, select, struct, time, types

MOST_BYTES = 16 << 20
DEEPEST = 300


class Broken(BaseException):
    """The other side sent an invalid message."""


class Ended(BaseException):
    """The other side has ended."""


class TooLate(BaseException):
    """The other side did not answer in time."""


class Unsupported(BaseException):
    """A value of the tests that cannot be passed to the program."""


def encode(value, opaque, depth=0):
    """Encodes the value as JSON; `opaque` returns the number of an object without a plain form."""
    if depth > DEEPEST:
        raise ValueError("a value is nested too deeply")
    if value is None or value is True or value is False:
        return value
    many = lambda items: [encode(item, opaque, depth + 1) for item in items]
    pairs = lambda items: [[encode(k, opaque, depth + 1), encode(v, opaque, depth + 1)] for k, v in items]
    kind = type(value)
    is_a = lambda base: issubclass(kind, base)
    if is_a(int):
        value = int.__add__(value, 0)
        return value if -(1 << 62) < value < 1 << 62 else ["int", hex(value)]
    if is_a(float):
        return ["float", float.hex(float.__mul__(value, 1.0))]
    if is_a(str):
        return str.__getitem__(value, slice(None))
    if is_a(list):
        return ["list", many(list.__iter__(value))]
    if is_a(tuple):
        return ["tuple", many(tuple.__iter__(value))]
    if is_a(dict):
        items = pairs(dict.items(value))
        if is_a(collections.Counter):
            return ["Counter", items]
        if is_a(collections.OrderedDict):
            return ["OrderedDict", items]
        return ["dict", items]
    if is_a(set):
        return ["set", many(set.__iter__(value))]
    if is_a(frozenset):
        return ["frozenset", many(frozenset.__iter__(value))]
    if is_a((bytes, bytearray)):
        return ["bytes" if is_a(bytes) else "bytearray", bytes.hex(bytes(memoryview(value)))]
    if is_a(complex):
        return ["complex", float.hex(complex.__add__(value, 0).real), float.hex(complex.__add__(value, 0).imag)]
    if kind is range:
        return ["range", many((value.start, value.stop, value.step))]
    if kind is collections.deque:
        return ["deque", many(value), value.maxlen]
    if kind is decimal.Decimal:
        return ["Decimal", str(value)]
    if kind is fractions.Fraction:
        return ["Fraction", hex(value.numerator), hex(value.denominator)]
    if kind is type({}.keys()):
        return ["keys", many(value)]
    if kind is type({}.values()):
        return ["values", many(value)]
    if kind is type({}.items()):
        return ["items", pairs(value)]
    if kind in (datetime.date, datetime.datetime, datetime.time) and getattr(value, "tzinfo", None) is None:
        return [kind.__name__, value.isoformat()]
    if kind is datetime.timedelta:
        return ["timedelta", value.days, value.seconds, value.microseconds]
    if value is Ellipsis:
        return ["Ellipsis"]
    if kind is type and getattr(builtins, value.__name__, None) is value:
        return ["type", value.__name__]
    if kind is types.BuiltinFunctionType and getattr(builtins, value.__name__, None) is value:
        return ["builtin", value.__name__]
    if is_a(BaseException):
        return ["exception", *raised(value)]
    if kind.__module__ == "numpy" and hasattr(value, "item") and getattr(value, "shape", None) == ():
        return encode(value.item(), opaque, depth + 1)
    return opaque(value)


def decode(node, objects):
    """Decodes a value from JSON, with genuine built-in types; `objects` maps numbers to objects."""
    kind = type(node)
    if node is None or kind in (bool, int, str):
        return node
    if kind is not list or not node or type(node[0]) is not str:
        raise Broken("invalid value")
    try:
        return rebuild(node[0], node[1:], objects)
    except (ValueError, TypeError, ArithmeticError, RecursionError, IndexError, KeyError, AttributeError) as error:
        raise Broken(f"invalid value: {error}") from None


COLLECTIONS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "range": lambda r: range(*r)}
DICTIONARIES = {"dict": dict, "Counter": collections.Counter, "OrderedDict": collections.OrderedDict}
DATES = {"date": datetime.date, "datetime": datetime.datetime, "time": datetime.time}


UNFIT = (eval, exec, compile, open, __import__, getattr, setattr, delattr, globals, locals, vars, input, breakpoint, type)


def rebuild(tag, rest, objects):
    many = lambda nodes: [decode(node, objects) for node in nodes]
    pairs = lambda nodes: {decode(k, objects): decode(v, objects) for k, v in nodes}
    whole = lambda text: int(text, 16)
    if tag in COLLECTIONS:
        return COLLECTIONS[tag](many(rest[0]))
    if tag in DICTIONARIES:
        return DICTIONARIES[tag](pairs(rest[0]))
    if tag in DATES:
        return DATES[tag].fromisoformat(rest[0])
    if tag == "int":
        return whole(rest[0])
    if tag == "float":
        return float.fromhex(rest[0])
    if tag in ("bytes", "bytearray"):
        return getattr(builtins, tag).fromhex(rest[0])
    if tag == "complex":
        return complex(float.fromhex(rest[0]), float.fromhex(rest[1]))
    if tag == "deque":
        return collections.deque(many(rest[0]), decode(rest[1], objects))
    if tag == "Decimal":
        return decimal.Decimal(rest[0])
    if tag == "Fraction":
        return fractions.Fraction(whole(rest[0]), whole(rest[1]))
    if tag == "keys":
        return dict.fromkeys(many(rest[0])).keys()
    if tag == "values":
        return dict(enumerate(many(rest[0]))).values()
    if tag == "items":
        return pairs(rest[0]).items()
    if tag == "timedelta":
        return datetime.timedelta(*many(rest))
    if tag == "Ellipsis":
        return Ellipsis
    if tag in ("type", "builtin"):
        value = getattr(builtins, rest[0])
        if type(value) is not (type if tag == "type" else types.BuiltinFunctionType) or value in UNFIT:
            raise Broken("invalid value")
        return value
    if tag == "exception":
        return exception(rest)
    return objects(tag, rest)


def raised(error):
    """Encodes an exception: the names of its classes, nearest first, and its message."""
    names = [kind.__name__ for kind in type(error).__mro__]
    try:
        message = str(error)
    except BaseException:
        message = ""
    return [names, message[:2000]]


def exception(node):
    """Decodes an exception as its nearest built-in class."""
    names, message = node
    for name in names:
        kind = getattr(builtins, name, None) if type(name) is str else None
        if isinstance(kind, type) and issubclass(kind, BaseException) and type(message) is str:
            break
    else:
        raise Broken("invalid exception")
    try:
        return kind(message)
    except TypeError:  # UnicodeDecodeError needs more arguments
        return ValueError(message) if issubclass(kind, ValueError) else Exception(message)


class Channel:
    """Exchanges messages over two pipes: the length in four bytes, then JSON."""

    def __init__(self, reads, writes):
        self.reads, self.writes = reads, writes

    def send(self, message):
        data = json.dumps(message, separators=(",", ":")).encode()
        if len(data) > MOST_BYTES:
            raise ValueError("a value is too large")
        data = struct.pack(">I", len(data)) + data
        try:
            while data:
                data = data[os.write(self.writes, data):]
        except OSError:
            raise Ended from None

    def receive(self, deadline=None):
        size = struct.unpack(">I", self.take(4, deadline))[0]
        if size > MOST_BYTES:
            raise Broken("a value is too large")
        try:
            return json.loads(self.take(size, deadline))
        except (ValueError, RecursionError, MemoryError):
            raise Broken("invalid JSON") from None

    def take(self, size, deadline):
        parts = []
        while size:
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self.reads], [], [], left)[0]:
                    raise TooLate
            part = os.read(self.reads, min(size, 1 << 16))
            if not part:
                raise Ended
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def take_channel():
    """Takes standard input and output as the channel, and replaces both with empty streams."""
    channel = Channel(os.dup(0), os.dup(1))
    nothing = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nothing, standard)
    os.close(nothing)
    return channel


def imports(source):
    """The import statements of a source, one by one."""
    import ast

    return [ast.unparse(s) for s in ast.parse(source).body if isinstance(s, (ast.Import, ast.ImportFrom))]


def definitions(source, kinds, but=None):
    """The functions or classes of these kinds in a source, except the one named `but`."""
    import ast

    return [ast.unparse(s) for s in ast.parse(source).body if isinstance(s, kinds) and s.name != but]


def prompt_parts(prompt, entry):
    """Imports, constants and helpers of a prompt: everything except the requested function."""
    import ast

    for source in (prompt, prompt + "\n    pass\n", prompt.rstrip() + "\n        pass\n"):
        try:
            body = ast.parse(source).body
        except SyntaxError:
            continue
        return [ast.unparse(s) for s in body if getattr(s, "name", None) != entry]
    return []
