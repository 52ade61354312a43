"""The program's side: loads the program under test and executes the judge's requests on its objects.

Nothing here is trusted: the program shares this process and may change everything in it. It can only answer.
"""


class Side:
    def __init__(self):
        self.channel = take_channel()
        self.objects = {}
        self.plan = json.load(open("../plan", encoding="utf-8"))

    def opaque(self, value):
        number = len(self.objects)
        self.objects[number] = value
        return ["object", number]

    def known(self, tag, rest):
        if tag == "object":
            return self.objects[rest[0]]
        if tag == "callback":
            return lambda *args, **kwargs: self.callback(rest[0], args, kwargs)
        raise Broken(tag)

    def callback(self, number, args, kwargs):
        self.channel.send(["callback", number, encode(list(args), self.opaque), encode(kwargs, self.opaque)])
        while True:
            message = self.channel.receive()
            if message[0] == "returned":
                return decode(message[1], self.known)
            if message[0] == "raised":
                raise exception(message[1:])
            self.answer(message)

    def load(self):
        import sys

        sys.setrecursionlimit(50000)
        module = types.ModuleType("solution")
        sys.modules["solution"] = module
        sys.path[0] = ""
        space = module.__dict__
        for line in self.plan["imports"] + imports(self.plan["setup"]):
            try:
                exec(line, space)
            except ImportError:
                pass  # the program fails where it uses a missing module
        imported = dict(space)
        with open("../program", encoding="utf-8", errors="surrogateescape") as file:
            code = file.read()
        for source in self.sources(code):
            exec(compile(source, "program", "exec"), space)
        # `add` from the imports does not solve a problem that asks for `add`.
        own = defined(code)
        self.lent = {name for name, value in imported.items() if space.get(name) is value and name not in own}
        self.space = space
        names = [name for name in list(space) if type(name) is str and name not in self.lent]
        return [[name, origin(space[name])] for name in names]

    def sources(self, code):
        import ast

        setup, prompt, entry = self.plan["setup"], self.plan["prompt"], self.plan["entry"]
        before = definitions(setup, (ast.ClassDef, ast.FunctionDef))
        if prompt is None:
            return before + [code]
        if entry in defined(code):
            return before + prompt_parts(prompt, entry) + [code]
        return before + [completed(prompt, code)]

    def answer(self, message):
        """Executes a request and sends the result."""
        try:
            what, args, kwargs = message[0], decode(message[1], self.known), decode(message[2], self.known)
            value = getattr(self, "do_" + what)(*args, **kwargs)
            reply = ["returned", encode(value, self.opaque)]
            if what == "call" and value is None:
                reply.append([encode(arg, self.opaque) for arg in args[1:]])
            self.channel.send(reply)
        except (Ended, Broken):
            raise
        except BaseException as error:
            self.channel.send(["raised", *raised(error)])

    def do_load(self):
        return self.load()

    def do_global(self, name):
        return self.space[name]

    def do_function(self, name):
        """The function to call: a method of the class Solution, or a function of the module."""
        solution = self.space.get("Solution")
        if isinstance(solution, type) and hasattr(solution, name):
            return getattr(solution(), name)
        if name not in self.space or name in self.lent:
            raise NameError(f"the program has no function `{name}`")
        return self.space[name]

    def do_call(self, function, *args, **kwargs):
        return function(*args, **kwargs)

    def do_get(self, value, name):
        return getattr(value, name)

    def do_set(self, value, name, new):
        setattr(value, name, new)

    def do_item(self, value, key):
        return value[key]

    def do_setitem(self, value, key, new):
        value[key] = new

    def do_iter(self, value):
        return iter(value)

    def do_next(self, value):
        return next(value)

    def do_len(self, value):
        return len(value)

    def do_bool(self, value):
        return bool(value)

    def do_str(self, value):
        return str(value)

    def do_isinstance(self, value, kind):
        return isinstance(value, kind)

    def serve(self):
        import signal

        signal.signal(signal.SIGPROF, lambda *_: os._exit(124))
        while True:
            message = self.channel.receive()
            signal.setitimer(signal.ITIMER_PROF, self.plan["cpu_seconds"])
            self.answer(message)


def origin(value):
    """The origin of a name that the program imported."""
    if isinstance(value, types.ModuleType):
        return [value.__name__, None]
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    return [module, name] if type(module) is str and type(name) is str else None


def defined(code):
    """The names that the top level of a module binds."""
    import ast

    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError):
        return set()
    names = set()
    for statement in body:
        if isinstance(statement, (ast.Assign, ast.Import, ast.ImportFrom, ast.If, ast.Try)):
            names |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            names |= {a.asname or a.name for n in ast.walk(statement) for a in getattr(n, "names", [])
                      if isinstance(a, ast.alias)}
            names |= {n.name for n in ast.walk(statement) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        elif hasattr(statement, "name"):
            names.add(statement.name)
    return names


def completed(prompt, code):
    """The prompt, completed with a response that is only the body of its function."""
    import textwrap

    indented = textwrap.indent(textwrap.dedent(code), "    ")
    attempts = [prompt + code, prompt + indented, prompt + "\n" + indented, prompt + "    " + code]
    for source in attempts:
        try:
            compile(source, "program", "exec")
            return source
        except (SyntaxError, ValueError):
            pass
    return code


try:
    Side().serve()
except (Ended, Broken):
    os._exit(0)
