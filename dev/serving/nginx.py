"""Two replicas of `meno serve` behind nginx with docs/nginx/nginx.conf: `python3 dev/serving/nginx.py MENO MODEL`.

Needs nginx with njs (`apt-get install nginx libnginx-mod-http-js`) and nothing else. The configuration is used as it
is, except for addresses, ports, paths and the user. MODEL needs a context of 2,048 tokens or more, and a size that
takes a while per token: SmolLM2-135M-Instruct.Q4_1.gguf gave the output in docs/serving.md. Prints the results; every
step asserts. The access log shows which replica answered.
"""

import getpass
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

MENO, MODEL = sys.argv[1:3]
ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "crates/meno-server/tests/fixtures"
HOST = "chat.example"
LONG = {"max_tokens": 1500, "ignore_eos": True}
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"


def step(title):
    print(f"\n## {title}", flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what, check, seconds=60):
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return found


def get(port, path, headers={}):
    """Status, headers and body of a GET request; status 0 if there is no answer."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", path, headers={"Host": HOST, "Authorization": "Bearer one"} | headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    except OSError:
        return 0, {}, ""


class Replica:
    def __init__(self):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.start()

    def start(self):
        options = ["--port", str(self.port), "--threads", "1", "--name", "local", "--host-name", HOST,
                   "--api-key", "one", "--api-key", "two", "--connections-per-address", "1024"]
        self.process = subprocess.Popen([MENO, "serve", "-m", MODEL, *options], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

    def health(self):
        return get(self.port, "/health")[0]

    def metric(self, name):
        return float(re.search(rf"^{name} (\S+)", get(self.port, "/metrics")[2], re.M)[1])

    def end(self, how):
        self.process.send_signal(how)
        return self.process.wait(60)


class Nginx:
    """The real nginx, with the documented configuration in a temporary directory."""

    def __init__(self, replicas, directory):
        self.port, self.tls_port = free_port(), free_port()
        self.log = directory / "access.log"
        text = (ROOT / "docs/nginx/nginx.conf").read_text()
        paths = "".join(f"{kind}_temp_path {directory}/{kind};\n"
                        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        for old, new in [("user www-data;", f"user {getpass.getuser()};"),
                         ("http {", "http {\n" + paths),
                         ("/run/nginx.pid", f"{directory}/nginx.pid"),
                         ("/var/log/nginx/access.log", str(self.log)),
                         ("/var/log/nginx/error.log", f"{directory}/error.log"),
                         ("listen 8000;", f"listen 127.0.0.1:{self.port};"),
                         ("# listen 443 ssl;", f"listen 127.0.0.1:{self.tls_port} ssl;"),
                         ("# ssl_certificate ", "ssl_certificate "),
                         ("# ssl_certificate_key", "ssl_certificate_key"),
                         ("/etc/ssl/chat.example.pem", str(FIXTURES / "localhost.crt")),
                         ("/etc/ssl/private/chat.example.key", str(FIXTURES / "localhost.key")),
                         ("127.0.0.1:8001 max", f"{replicas[0].address} max"),
                         ("127.0.0.1:8002 max", f"{replicas[1].address} max")]:
            assert text.count(old) == 1, f"nginx.conf has {old!r} {text.count(old)} times, not once"
            text = text.replace(old, new)
        (directory / "nginx.conf").write_text(text)
        shutil.copy(ROOT / "docs/nginx/affinity.js", directory)
        self.process = subprocess.Popen(["nginx", "-c", str(directory / "nginx.conf"), "-g", "daemon off;"])
        wait_for("nginx", lambda: get(self.port, "/metrics")[0] == 404)

    def logged(self, tag):
        """The replicas that were asked for a request, and their status codes."""
        def find():
            found = re.search(rf"\?t={tag} HTTP.* replica=(.*) replica_status=(.*) first", self.log.read_text())
            return found and (found[1].split(", "), found[2].split(", "))
        return wait_for(f"request {tag} in the log", find)


class Request:
    """A request through nginx; `tag` finds it in the access log."""

    count = 0

    def __init__(self, path, body, key="one", headers={}, port=None):
        Request.count += 1
        self.tag = Request.count
        if port == nginx.tls_port:
            context = ssl.create_default_context(cafile=FIXTURES / "localhost.crt")
            self.connection = http.client.HTTPSConnection("localhost", port, timeout=120, context=context)
        else:
            self.connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=120)
        self.rest, self.done, self.reads = b"", False, 0
        body = body if isinstance(body, str) else json.dumps(body)
        own = {"Host": HOST, "Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self.connection.request("POST", f"{path}?t={self.tag}", body, own | headers)

    def receive(self):
        self.response = self.connection.getresponse()
        self.status, self.headers = self.response.status, self.response.headers
        return self

    def json(self):
        self.receive()
        self.body = json.loads(self.response.read())
        return self

    def event(self):
        """The next event that has text, or None at the end. Raises IncompleteRead if the reply breaks off."""
        while True:
            line, end, rest = self.rest.partition(b"\n")
            if end:
                self.rest = rest
                self.done = self.done or line == b"data: [DONE]"
                if line.startswith(b"data: {") and re.search(rb'"(content|delta|text)":"[^"]', line):
                    return line
            elif more := self.response.read1():
                self.rest += more
                self.reads += 1
            else:
                return None

    def replicas(self):
        return nginx.logged(self.tag)[0]

    def hang_up(self):
        self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.response = None
        self.connection.close()


def chat(text, key="one", **more):
    return Request(CHAT, {"messages": [{"role": "user", "content": text}], "max_tokens": 2} | more, key)


def text_of(replica):
    """A first message whose conversation belongs to a replica."""
    return next(text for text in texts if homes[text] == replica.address)


def running(count):
    return lambda: sum(r.metric("meno_running") for r in replicas if r.process.poll() is None) == count


def conversation(api, number):
    """The requests of three turns: each has the answer of the one before it, as a client sends it."""
    system, turns = f"You are assistant {number % 3}.", []
    for turn in range(3):
        turns.append({"role": "user", "content": f"Question {turn} of conversation {number} about number {number}?"})
        if api == CHAT:
            body = {"messages": [{"role": "system", "content": system}, *turns], "max_tokens": 4}
        elif api == RESPONSES:
            given = turns if turn else turns[0]["content"]  # a text is the short form of one message
            body = {"instructions": system, "input": given, "max_output_tokens": 4}
        else:  # the client marks the newest message for Anthropic's cache, so the first one changes
            part = {"type": "text", "text": turns[-1]["content"], "cache_control": {"type": "ephemeral"}}
            body = {"system": system, "messages": [*turns[:-1], {"role": "user", "content": [part]}], "max_tokens": 4}
        request = Request(api, body).json()
        assert request.status == 200, request.body
        if api == CHAT:
            answer, usage = request.body["choices"][0]["message"]["content"], request.body["usage"]
            tokens, cached = usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]
        elif api == RESPONSES:
            answer, usage = request.body["output"][-1]["content"][0]["text"], request.body["usage"]
            tokens, cached = usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"]
        else:
            answer, usage = "".join(p["text"] for p in request.body["content"]), request.body["usage"]
            cached = usage["cache_read_input_tokens"]
            tokens = usage["input_tokens"] + cached + usage["cache_creation_input_tokens"]
        turns.append({"role": "assistant", "content": answer})
        yield request.replicas(), tokens, cached


def check_streams():
    step("streams: the client has the first text while the replica still generates")
    for api, port in [(CHAT, None), (RESPONSES, None), (MESSAGES, None), (CHAT, nginx.tls_port)]:
        story = "Write a long story about a river."
        body = {"messages": [{"role": "user", "content": story}], "max_tokens": 300}
        if api == RESPONSES:
            body = {"input": story, "max_output_tokens": 300}
        if api != MESSAGES:  # Anthropic's API has no such field
            body["ignore_eos"] = True
        wait_for("the replicas to be idle", running(0))
        request = Request(api, body | {"stream": True}, port=port).receive()
        assert request.headers["content-type"] == "text/event-stream" and request.event()
        started = time.monotonic()
        wait_for("an answer that runs after its first event", running(1), 1)
        events = 1
        while request.event():
            events += 1
        seconds = time.monotonic() - started
        print(f"{api}{' with TLS' if port else ''}: {events} events in {request.reads} pieces, "
              f"{seconds:.2f} s between first and last")
        assert 20 < events < 4 * request.reads, "events arrive together"


def check_affinity():
    step("prefix affinity: conversations of three turns, 16 of each API")
    for api in (CHAT, RESPONSES, MESSAGES):
        used, reused, total = [], 0, 0
        for number in range(16):
            turns = list(conversation(api, number))
            assert len({r for asked, _, _ in turns for r in asked}) == 1, f"a conversation moved: {turns}"
            used.append(turns[0][0][0])
            for (_, before, _), (_, tokens, cached) in zip(turns, turns[1:]):
                assert cached >= before - 8, f"{cached} tokens cached, {before} were in the request before"
                reused, total = reused + cached, total + tokens
        shares = [used.count(r.address) for r in replicas]
        print(f"{api}: {shares} conversations, {100 * reused // total} % of the later turns' prompts from the cache")
        assert min(shares) > 0
    moved = sum(chat(text, key="two").json().replicas() != [homes[text]] for text in texts)
    print(f"the same first message with another key: another replica for {moved} of {len(texts)}")
    assert 0 < moved < len(texts)
    for text in texts[:4]:
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 2}
        other = Request(CHAT, body, None, {"X-Api-Key": "one"})
        assert other.json().replicas() == [homes[text]]
    print("the same key as x-api-key: the same replica")
    used = [Request("/tokenize", {"prompt": "one"}).json().replicas()[0] for _ in range(32)]
    print("32 equal requests to /tokenize:", [used.count(r.address) for r in replicas])
    assert all(r.address in used for r in replicas)


def check_bodies_and_names():
    step("bodies, host names and origins")
    for title, body, status, code in [
            ("invalid JSON", "{", 400, "invalid_json"),
            ("a message of 2 MiB", {"messages": [{"role": "user", "content": "a b " * (1 << 19)}]}, 400, None),
            ("a body of 9 MiB", {"messages": [{"role": "user", "content": "x" * (9 << 20)}]}, 413, "request_too_large"),
            ("340,000 lists", '{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "metadata": ['
             + "[]," * 340_000 + "[]]}", 200, None)]:
        request = Request(CHAT, body).json()
        found = request.body.get("error", {})
        print(f"{title}: {request.status} {found.get('code')}")
        assert request.status == status and code in (None, found.get("code")), request.body
    for title, headers, status in [("its own origin", {"Origin": f"http://{HOST}"}, 200),
                                   ("a foreign origin", {"Origin": "http://evil.example"}, 403),
                                   ("a foreign host name", {"Host": "evil.example"}, 403)]:
        found = Request("/tokenize", {"prompt": "one"}, headers=headers).json().status
        print(f"{title}: {found}")
        assert found == status
    status, headers, body = get(nginx.port, "/health", {"Authorization": ""})
    print("/health without a key:", status, body)
    assert status == 200 and get(nginx.port, "/metrics")[0] == 404


def check_hang_up():
    step("a client that disconnects")
    for stream in (True, False):
        before = sum(r.metric("meno_generated_tokens_total") for r in replicas)
        request = chat("A long story.", stream=stream, **LONG)
        if stream:
            assert request.receive().event()
        wait_for("a running answer", running(1))
        started = time.monotonic()
        request.hang_up()
        wait_for("the end of the generation", running(0))
        tokens = sum(r.metric("meno_generated_tokens_total") for r in replicas) - before
        milliseconds = 1000 * (time.monotonic() - started)
        print(f"{'a stream' if stream else 'no stream'}: the slot is free after {milliseconds:.0f} ms, {tokens:.0f} of "
              f"{LONG['max_tokens']} tokens were generated")
        assert tokens < LONG["max_tokens"]


def check_kill():
    step("kill -9 of a replica")
    killed, other = replicas
    text = text_of(killed)
    stream, waiting = chat(text, stream=True, **LONG).receive(), chat(text, max_tokens=200, ignore_eos=True)
    assert stream.event()
    wait_for("two running answers", lambda: killed.metric("meno_running") == 2)
    killed.end(signal.SIGKILL)
    try:
        while stream.event():
            pass
        raise AssertionError("the stream ended as if it were complete")
    except http.client.IncompleteRead:
        print("a stream that had begun: breaks off, the client sees an incomplete reply")
    assert waiting.json().status == 200
    print("a request without any reply yet:", *nginx.logged(waiting.tag))
    assert waiting.replicas() == [killed.address, other.address]
    later = [chat(text).json() for _ in range(8)]
    print("8 later requests of that conversation:", [len(r.replicas()) for r in later], "replicas asked for each")
    assert all(r.status == 200 and r.replicas()[-1] == other.address for r in later)
    assert later[-1].replicas() == [other.address], "a failed replica is left alone"


def check_loading():
    step("a replica that loads its model")
    loading, other = replicas
    text = text_of(loading)
    for _ in range(10):  # a small model may be loaded before a request reaches it
        time.sleep(5.5)  # until nginx tries the failed replica again
        loading.start()
        wait_for("the port", loading.health)
        request = chat(text).json()
        asked, status = nginx.logged(request.tag)
        assert request.status == 200
        if status == ["503", "200"]:
            break
        loading.end(signal.SIGKILL)
        chat(text).json()
    print("while it loads:", asked, status)
    assert status == ["503", "200"] and asked == [loading.address, other.address]
    wait_for("the model", lambda: loading.health() == 200)
    wait_for("the conversation's return", lambda: chat(text).json().replicas() == [loading.address])
    print("when it has loaded: the conversation returns to it")


def check_shutdown():
    step("SIGTERM of a replica while a stream runs")
    ending, other = replicas
    text = text_of(ending)
    stream = chat(text, stream=True, max_tokens=300, ignore_eos=True).receive()
    assert stream.event()
    codes = []
    thread = threading.Thread(target=lambda: codes.append(ending.end(signal.SIGTERM)))
    thread.start()
    later = []
    while ending.health():  # from the signal until the replica no longer listens
        later.append(chat(text).json())
    later += [chat(text).json() for _ in range(8)]
    events = 1
    while stream.event():
        events += 1
    thread.join()
    print(f"the stream: {events} events; {len(later)} requests meanwhile: {set(r.status for r in later)}; "
          f"exit status {codes[0]}")
    assert stream.done and events > 20 and codes == [0] and all(r.status == 200 for r in later)
    assert all(r.replicas()[-1] == other.address for r in later[-8:])


def check_none():
    step("no replica")
    replicas[1].end(signal.SIGKILL)
    for _ in range(3):  # refused by both at first, then both are left alone
        request = chat("Hello.").json()
        print(request.status, "Retry-After", request.headers["retry-after"], request.body["error"]["message"])
        assert request.status == 503 and request.headers["retry-after"]
    assert get(nginx.port, "/health")[0] == 503


os.umask(0o077)
with tempfile.TemporaryDirectory() as name:
    replicas = [Replica(), Replica()]
    nginx = None
    try:
        nginx = Nginx(replicas, Path(name))
        assert all(wait_for("the models", lambda: r.health() == 200, 600) for r in replicas)
        wait_for("both replicas behind nginx", lambda: {chat(f"{n}").json().replicas()[-1] for n in range(8)}
                 == {r.address for r in replicas})
        texts = [f"Conversation {n}." for n in range(24)]
        homes = {text: chat(text).json().replicas()[-1] for text in texts}
        for check in (check_streams, check_affinity, check_bodies_and_names, check_hang_up, check_kill, check_loading,
                      check_shutdown, check_none):
            check()
    finally:
        if nginx:
            nginx.process.send_signal(signal.SIGQUIT)
            nginx.process.wait(60)
        for replica in replicas:
            if replica.process.poll() is None:
                replica.end(signal.SIGKILL)
