"""The judge's side: runs the tests, requests values from the program, and reports the result.

It never runs a line of the program. Names that the program defines and the tests use are proxies: they send their
arguments to the program's side and receive genuine values. The report goes to a file that only this process and Meno
can access, after a random mark that changes with every run.
"""

import ast, copy, importlib, importlib.util, math, sys

# Modules that the tests may use because the program imports them.
LIBRARY = set("bisect cmath collections copy datetime decimal fractions functools heapq itertools json math operator "
              "random re statistics string typing".split())

def short(value):
    """Formats a value for a message."""
    try:
        text = value if type(value) is str else repr(value)
    except BaseException:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 200 else text[:120] + " … " + text[-60:]


class Exam:
    def __init__(self):
        with open("../job", encoding="utf-8") as file:
            self.job = json.load(file)
        self.report_to = os.dup(2)
        self.channel = take_channel()
        os.dup2(0, 2)
        self.callbacks = []
        self.classes, self.members = set(), set()
        self.number = 0
        self.end = time.monotonic() + self.job["seconds"]

    def report(self, status, reason="", **more):
        more = {"status": status, "reason": reason, "test": self.number, **more}
        os.write(self.report_to, (self.job["mark"] + json.dumps(more) + "\n").encode())
        os._exit(0)

    def opaque(self, value):
        if type(value) in (Remote, RemoteIterator):
            return ["object", object.__getattribute__(value, "_number")]
        if type(value) in (types.FunctionType, types.MethodType, types.BuiltinFunctionType):
            self.callbacks.append(value)
            return ["callback", len(self.callbacks) - 1]
        raise Unsupported(f"the tests give the program a {type(value).__name__}, which cannot be passed to it")

    def known(self, tag, rest):
        if tag == "object" and type(rest[0]) is int:
            return Remote(rest[0])
        raise Broken(tag)

    def ask(self, what, *args, **kwargs):
        """Returns the program's answer. Raises an exception of the program as its nearest built-in base class."""
        deadline = min(self.end, time.monotonic() + self.job["call_seconds"])
        self.channel.send([what, encode(list(args), self.opaque), encode(kwargs, self.opaque)])
        while True:
            message = self.channel.receive(deadline)
            if type(message) is not list or not message:
                raise Broken("invalid message")
            if message[0] == "returned" and len(message) >= 2:
                value = decode(message[1], self.known)
                if what == "call" and value is None and len(message) == 3:
                    changed(args[1:], message[2], self.known)
                return value
            if message[0] == "raised":
                error = decode(["exception", *message[1:]], self.known)
                error.__dict__["of_program"] = message[1][0]
                raise error
            if message[0] == "callback" and len(message) == 4:
                self.called_back(*message[1:])
            else:
                raise Broken("invalid message")

    def called_back(self, number, args, kwargs):
        """Calls a function of the tests that was passed to the program."""
        args, kwargs = decode(args, self.known), decode(kwargs, self.known)
        if type(number) is not int or not 0 <= number < len(self.callbacks) or type(args) is not list:
            raise Broken("invalid function")
        try:
            reply = ["returned", encode(self.callbacks[number](*args, **kwargs), self.opaque)]
        except (Exception, Unsupported) as error:
            reply = ["raised", *raised(error)]
        self.channel.send(reply)

    def load(self):
        names = self.ask("load")
        if type(names) is not list:
            raise Broken("invalid names")
        return {name: where for name, where in names if type(name) is str}

    def run(self):
        try:
            scripts = [compile(text, "tests", "exec") for text in self.job["scripts"]]
            calls = [call for text in self.job["calls"] for call in unpacked(text)]
            before, after = prepared(self.job)
            self.classes, self.members = tested_classes(self.job)
        except (SyntaxError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.report("tests", f"the tests cannot be read: {type(error).__name__}: {error}")
        os.write(self.report_to, b"ready\n")
        try:
            names = self.load()
        except Exception as error:
            self.report("wrong", "the program does not load: " + described(error))
        try:
            if calls:
                self.call_all(calls)
            self.run_all(scripts, Names(names, before, after))
        except NeedsModule as error:
            self.report("tests", str(error))
        except ImportError as error:
            if hasattr(error, "of_program"):
                self.report("wrong", described(error))
            self.report("tests", f"the tests import a module that {sys.executable} lacks: {error}; install it")
        self.number = 0
        self.report("right", "all tests pass")

    def call_all(self, calls):
        """Compares the results of calls with JSON."""
        apps = self.job["rules"] == "apps"
        try:
            function = self.ask("function", self.job["function"])
        except Exception as error:
            self.report("wrong", described(error))
        for self.number, (arguments, wanted) in enumerate(calls, 1):
            try:
                got = self.ask("call", function, *arguments)
            except Exception as error:
                self.report("wrong", described(error), expected=short(wanted))
            if not (same_apps if apps else same)(got, wanted):
                self.report("wrong", "the result differs", expected=short(wanted), got=short(got))

    def run_all(self, scripts, names):
        names.prepare()
        for self.number, script in enumerate(scripts, 1):
            try:
                exec(script, names)
            except ImportError:
                raise
            except AssertionError as error:
                told = str(error)
                failed = self.job["scripts"][self.number - 1] if len(scripts) > 1 else line_of(error, self.job, self.number)
                self.report("wrong", "an assertion fails" + (f": {short(told)}" if told else ""), expected=short(failed))
            except Exception as error:
                self.report("wrong", described(error))
        if self.job["plus"] is not None:
            self.run_plus(names)

    def run_plus(self, names):
        """EvalPlus: compares with the results of the reference solution on its inputs."""
        plus = self.job["plus"]
        reference = {}
        exec(plus["reference"], reference)
        reference, candidate, entry = reference[plus["entry"]], names[plus["entry"]], plus["entry"]
        for given in plus["inputs"]:
            self.number += 1
            wanted = reference(*copy.deepcopy(given))
            try:
                got = candidate(*given)
                if entry == "find_zero":
                    good = abs(sum(c * math.pow(got, i) for i, c in enumerate(given[0]))) <= plus["atol"]
                else:
                    good = same_plus(got, wanted, plus["atol"])
            except Exception as error:
                self.report("wrong", described(error), expected=short(wanted))
            if not good:
                self.report("wrong", "the result differs", expected=short(wanted), got=short(got))


def tested_builtins(job):
    """Names of built-in functions that the tests are about: MBPP asks for a function `sum`. A name counts only where it
    is the only name of the program; `abs(area(2) - 12.57) < 0.01` is about `area`."""
    if job["entry"] is not None:
        return {job["entry"]}
    used, own = set(), set(LIBRARY)
    for text in job["scripts"] + [job["setup"]]:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Name):
                (used if isinstance(node.ctx, ast.Load) else own).add(node.id)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                own.add(node.name)
            elif isinstance(node, ast.alias):
                own.add((node.asname or node.name).split(".")[0])
            elif isinstance(node, ast.arg):
                own.add(node.arg)
    used -= own
    builtin = {name for name in used if hasattr(builtins, name)}
    return builtin if builtin == used else set()


def described(error):
    name = getattr(error, "of_program", type(error).__name__)
    where = "" if hasattr(error, "of_program") else " in the tests"
    return f"{short(str(name))}{where}: {short(str(error))}"


def line_of(error, job, number):
    """The line of the tests at which an assertion failed."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "tests":
            line = trace.tb_lineno
        trace = trace.tb_next
    lines = job["scripts"][number - 1].splitlines()
    return lines[line - 1].strip() if line and line <= len(lines) else ""


def changed(args, nodes, known):
    """Applies the changes that a function without a result made to its arguments in place."""
    if type(nodes) is not list or len(nodes) != len(args):
        raise Broken("invalid arguments")
    for old, node in zip(args, nodes):
        if type(old) in (list, dict, set, bytearray, collections.deque):
            new = decode(node, known)
            if type(new) is not type(old):
                raise Broken("an argument of a different type")
            old.clear()
            (old.update if type(old) in (dict, set) else old.extend)(new)


def prepared(job):
    """The test namespace before and after the program's names are known."""
    setup, before, after = job["setup"], imports(job["setup"]), []
    before += definitions(setup, ast.FunctionDef)
    if job["prompt"] is not None:
        before += prompt_parts(job["prompt"], job["entry"])
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    after += [ast.unparse(s) for s in ast.parse(setup).body if not isinstance(s, kept)]
    return before, after


def unpacked(text):
    """Parses calls from JSON text: {"input": one value per line, "output": a value}, or APPS' {"inputs", "outputs"}."""
    limit = getattr(sys, "set_int_max_str_digits", lambda _: None)
    limit(0)
    case = json.loads(text)
    if "inputs" in case:
        if len(case["inputs"]) != len(case["outputs"]):
            raise ValueError("`inputs` and `outputs` differ in length")
        calls = zip(case["inputs"], case["outputs"])
        calls = [(numbered(arguments) if isinstance(arguments, list) else [arguments], out) for arguments, out in calls]
    else:
        given = case["input"]
        given = "\n".join(given) if isinstance(given, list) else given
        calls = [([json.loads(line) for line in given.splitlines() if line.strip()], json.loads(case["output"]))]
    limit(4300)
    return calls


def numbered(arguments):
    """Turns text keys of a dictionary back into numbers, as APPS' checker does if that is the first argument."""
    if arguments and isinstance(arguments[0], dict):
        try:
            return [{int(k): v for k, v in arguments[0].items()}]
        except ValueError:
            pass
    return arguments


def close(got, wanted):
    """True if doubles differ only by the rounding of a few operations; whole numbers must be equal."""
    if got == wanted or (got != got and wanted != wanted):
        return got == wanted
    if got.is_integer() and wanted.is_integer():
        return False
    return math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-12)


def same(got, wanted):
    """True if a result equals the JSON value; tuples count as lists."""
    if type(wanted) is list:
        return type(got) in (list, tuple) and len(got) == len(wanted) and all(map(same, got, wanted))
    if type(wanted) is dict:
        return isinstance(got, dict) and len(got) == len(wanted) and all(
            key in got and same(got[key], value) for key, value in wanted.items())
    if type(wanted) is float and type(got) is float:
        return close(got, wanted)
    return type(got) is not Remote and bool(got == wanted)


def same_apps(got, wanted):
    """Like `same`; in addition, APPS wraps many results in a list and turns keys of dictionaries into text."""
    several = [wanted] + (wanted[:1] if type(wanted) is list else [])
    for one in list(several):
        if type(one) is dict:
            try:
                several.append({int(key): value for key, value in one.items()})
            except ValueError:
                pass
    return any(same(got, one) for one in several)


def same_plus(got, wanted, atol):
    """EvalPlus' comparison: equal, or close floating-point numbers."""
    floats = type(wanted) is float or (
        type(wanted) in (list, tuple) and len(wanted) > 0 and all(type(x) is float for x in wanted))
    if atol == 0 and floats:
        atol = 1e-6
    if got == wanted or atol == 0:
        return bool(got == wanted)
    return type(got) is type(wanted) and allclose(got, wanted, 1e-7, atol)


def allclose(got, wanted, rtol=1e-5, atol=1e-8):
    """numpy.allclose for numbers and for nested lists and tuples of numbers."""
    if type(wanted) in (list, tuple):
        return type(got) in (list, tuple) and len(got) == len(wanted) and all(
            allclose(g, w, rtol, atol) for g, w in zip(got, wanted))
    if not isinstance(got, (int, float)) or not isinstance(wanted, (int, float)):
        raise TypeError("not numbers")
    return got == wanted or abs(got - wanted) <= atol + rtol * abs(wanted)


class NeedsModule(BaseException):
    """The tests use a module that is not installed."""


class NoNumpy(types.ModuleType):
    """The parts of NumPy that EvalPlus' tests use, for a Python without NumPy."""

    class ndarray:
        pass

    float32, float64, allclose, isclose = ndarray, float, staticmethod(allclose), staticmethod(allclose)

    class testing:
        @staticmethod
        def assert_allclose(actual, desired, rtol=1e-7, atol=0):
            assert allclose(actual, desired, rtol, atol), f"{short(actual)} is not close to {short(desired)}"

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise NeedsModule(f"the tests use numpy.{name}, and {sys.executable} has no NumPy; install it")


class Names(dict):
    """The namespace of the tests: their own names, then the program's. Python's built-ins are always genuine."""

    def __init__(self, program, before, after):
        super().__init__(__name__="tests", __builtins__=builtins)
        self.program, self.before, self.after = program, before, after
        # A library module that the tests use without importing it is genuine, whatever the program binds to its name.
        self.modules = {node.value.id for text in exam.job["scripts"] for node in ast.walk(ast.parse(text))
                        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)} & LIBRARY

        self.builtin = tested_builtins(exam.job)

    def prepare(self):
        if importlib.util.find_spec("numpy") is None:
            sys.modules["numpy"] = NoNumpy("numpy")
        for text in self.before:
            if text.endswith("import *"):
                # A name that the program defines is under test, even if a library defines it too.
                names = {}
                exec(text, names)
                self.update((name, names[name]) for name in names if self.of_library(name))
            else:
                exec(compile(text, "setup", "exec"), self)
        for text in self.after:
            exec(compile(text, "setup", "exec"), self)

    def of_library(self, name):
        where = self.program.get(name, [None, None])
        return not name.startswith("__") and type(where) is list and where[0] != "solution"

    def __missing__(self, name):
        if name not in self.program or (hasattr(builtins, name) and name not in self.builtin):
            raise KeyError(name)
        where = self.program[name]
        if name in self.modules or where == [name, None] and name in LIBRARY:
            return importlib.import_module(name)
        if type(where) is list and len(where) == 2 and where[0] in LIBRARY and where[1] == name:
            value = getattr(importlib.import_module(where[0]), name, None)
            if value is not None:
                return value
        value = exam.ask("global", name)
        if type(value) is Remote:
            object.__setattr__(value, "_role", "class" if name in exam.classes else "global")
        return value


sys.setrecursionlimit(10000)
exam = Exam()
try:
    exam.run()
except TooLate:
    exam.report("wrong", "time limit exceeded")
except Ended:
    exam.report("ended", "the program ended before it answered")
except Unsupported as error:
    exam.report("tests", str(error))
except (Broken, MemoryError, RecursionError) as error:
    exam.report("wrong", f"the program's answer cannot be read: {short(str(error))}")
except BaseException as error:
    exam.report("wrong", described(error))
