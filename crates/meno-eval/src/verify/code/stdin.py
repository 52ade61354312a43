"""Runs the file `program` as a script that reads and writes text, like the checkers of LiveCodeBench and APPS."""

import sys as _sys

with open("../imports", encoding="utf-8") as _file:
    _lines = _file.read().splitlines()
with open("../program", encoding="utf-8", errors="surrogateescape") as _file:
    _source = _file.read()
_sys.path[0] = ""
for _line in _lines:
    try:
        exec(_line, globals())
    except ImportError:
        pass
_sys.setrecursionlimit(50000)
try:
    exec(compile(_source, "program", "exec"), globals())
except SystemExit:
    pass
