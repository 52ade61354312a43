#!/usr/bin/env python3
"""A picture of a command in a terminal: dev/terminal_picture.py OUT.png "COMMAND" [KEYS...]

Runs COMMAND in a tmux of 92 x 26, types each of KEYS with Enter once the screen has stood still, and photographs the
screen with headless Chromium. Needs tmux and chromium.
"""

import html
import pathlib
import re
import subprocess
import sys
import tempfile
import time

COLUMNS, ROWS = 92, 26
COLORS = "#1d1f21 #c4554d #5f9e5f #c49a3a #4f86c6 #9a6fb0 #4fa5a5 #c5c8c6".split()
BRIGHT = "#7c7f82 #e07a72 #84c184 #e5c06b #7fb0ea #be97d0 #7fcaca #ffffff".split()


def tmux(*args):
    return subprocess.run(["tmux", "-L", "picture", *args], check=True, capture_output=True, text=True).stdout


def settled(seconds=3.0, limit=300):
    """Waits until the screen has not changed for some seconds."""
    before, since, end = None, time.time(), time.time() + limit
    while time.time() < end:
        screen = tmux("capture-pane", "-p")
        if screen != before:
            before, since = screen, time.time()
        elif screen.strip() and time.time() - since > seconds:
            return
        time.sleep(0.2)


def style(codes, state):
    """The state after the codes of an SGR sequence."""
    codes = iter(codes)
    for code in codes:
        if code == 0:
            state = {}
        elif code in (1, 2, 3, 4, 7):
            state = state | {code: True}
        elif code in (22, 23, 24, 27):
            state = {k: v for k, v in state.items() if k not in {22: (1, 2), 23: (3,), 24: (4,), 27: (7,)}[code]}
        elif 30 <= code <= 37:
            state = state | {"color": COLORS[code - 30]}
        elif 90 <= code <= 97:
            state = state | {"color": BRIGHT[code - 90]}
        elif code == 39:
            state = {k: v for k, v in state.items() if k != "color"}
        elif code == 38:
            kind = next(codes, 0)
            if kind == 2:
                state = state | {"color": "#%02x%02x%02x" % (next(codes, 0), next(codes, 0), next(codes, 0))}
            elif kind == 5:
                n = next(codes, 0)
                state = state | {"color": (COLORS + BRIGHT)[n] if n < 16 else "#8a8d90"}
    return state


def css(state):
    parts = [f"color:{state['color']}"] if "color" in state else []
    parts += ["font-weight:bold"] if 1 in state else []
    parts += ["opacity:.6"] if 2 in state else []
    parts += ["font-style:italic"] if 3 in state else []
    return ";".join(parts)


def page(screen):
    out, state = [], {}
    for part in re.split(r"(\x1b\[[0-9;]*m)", screen):
        if part.startswith("\x1b["):
            state = style([int(c or 0) for c in part[2:-1].split(";")], state)
        elif part:
            out.append(f'<span style="{css(state)}">{html.escape(part)}</span>')
    return (
        "<!doctype html><meta charset=utf-8><style>body{margin:0;background:#1d1f21;color:#c5c8c6}"
        "pre{margin:18px;font:15px/1.35 'DejaVu Sans Mono',monospace}</style><pre>" + "".join(out) + "</pre>"
    )


def main():
    out, command, *keys = sys.argv[1:]
    tmux("-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), command)
    tmux("set", "-g", "status", "off")
    try:
        settled()
        for line in keys:
            tmux("send-keys", "-l", line)
            tmux("send-keys", "Enter")
            settled()
        screen = tmux("capture-pane", "-p", "-e").rstrip("\n")
    finally:
        tmux("kill-server")
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "screen.html"
        file.write_text(page(screen))
        height = 36 + 21 * (screen.count("\n") + 1)
        subprocess.run(
            ["chromium", "--headless=new", "--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=2",
             f"--window-size={36 + 9 * COLUMNS + 8},{height}", f"--screenshot={out}", file.as_uri()],
            check=True, capture_output=True)


main()
