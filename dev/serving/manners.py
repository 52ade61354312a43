"""How `meno serve` behaves apart from answering: `python dev/serving/manners.py MENO MODEL`.

Keys, TLS, other pages' origins, full queues, requests that are too large, clients that go away, and SIGTERM while two
streams run, all with the official `openai` client where it can say it. Prints what came; every step asserts.
"""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import openai

try:
    import httpx2 as httpx  # what openai is built on since version 3
except ImportError:
    import httpx

MENO, MODEL = sys.argv[1:3]
FIXTURES = Path(__file__).parents[2] / "crates/meno-server/tests/fixtures"
LONG = [{"role": "user", "content": "Count from 1 to 400, one number on each line."}]


class Server:
    def __init__(self, *args):
        self.process = subprocess.Popen([MENO, "serve", "-m", MODEL, "--port", "0", *args], text=True, stderr=subprocess.STDOUT,
                                        stdout=subprocess.PIPE)
        for line in self.process.stdout:
            if found := re.search(r"https?://[\w.]+:\d+", line):
                self.url = found[0]
                break
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def client(self, key="none", **options):
        return openai.OpenAI(base_url=self.url + "/v1", api_key=key, max_retries=0, timeout=600, **options)

    def metrics(self, name):
        return float(re.search(rf"^{name} (\S+)", httpx.get(self.url + "/metrics").text, re.M)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)


def told(title, call):
    try:
        call()
    except openai.APIStatusError as error:
        print(f"{title}: {type(error).__name__} {error.status_code} {error.code}: {error.body['message']}")
        return error
    raise AssertionError(f"{title} was not rejected")


def step(title):
    print(f"\n## {title}")


step("meno serve --api-key SECRET --tls-cert … --tls-key … --cors-origin https://page.example")
with Server("--api-key", "SECRET", "--tls-cert", str(FIXTURES / "localhost.crt"), "--tls-key", str(FIXTURES / "localhost.key"),
            "--cors-origin", "https://page.example") as server:
    server.url = server.url.replace("127.0.0.1", "localhost")
    web = httpx.Client(verify=str(FIXTURES / "localhost.crt"))
    assert told("another key", lambda: server.client("WRONG", http_client=web).models.list()).status_code == 401
    print("the key:", server.client("SECRET", http_client=web).models.list().data[0].id)
    print("/health without a key:", web.get(server.url + "/health").json())
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,authorization"}
    for origin in ("https://page.example", "https://other.example"):
        reply = web.options(server.url + "/v1/chat/completions", headers=ask | {"origin": origin})
        print(f"preflight of {origin}:", reply.status_code, reply.headers.get("access-control-allow-origin"))
        assert (reply.headers.get("access-control-allow-origin") == origin) == (origin == "https://page.example")
    try:
        httpx.get(server.url + "/health")
    except httpx.ConnectError as error:
        print("a client that does not know the certificate:", str(error).split(" (")[0])
    else:
        raise AssertionError("the certificate was trusted by itself")

step("meno serve --parallel 1 --queue 2: twelve at once")
with Server("--parallel", "1", "--queue", "2") as server:
    client, replies = server.client(), []

    def ask():
        try:
            client.chat.completions.create(model="", messages=LONG, max_tokens=40)
            replies.append("answered")
        except openai.RateLimitError as error:
            replies.append(f"429, Retry-After {error.response.headers['retry-after']}")

    threads = [threading.Thread(target=ask) for _ in range(12)]
    [t.start() for t in threads], [t.join() for t in threads]
    print({reply: replies.count(reply) for reply in sorted(set(replies))})
    assert replies.count("answered") >= 3 and len(set(replies)) > 1

step("meno serve: invalid requests")
with Server() as server:
    client = server.client()
    say = lambda text, **fields: client.chat.completions.create(model="", messages=[{"role": "user", "content": text}], **fields)
    assert told("a body of 9 MiB", lambda: say("x" * (9 << 20))).status_code == 413
    assert told("a prompt beyond the context", lambda: say("word " * 40_000)).code == "context_length_exceeded"
    told("an invalid schema", lambda: say("x", response_format={
        "type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}}))
    told("an invalid grammar", lambda: say("x", extra_body={"response_format": {"type": "grammar", "grammar": "start: ("}}))
    told("a schema of 300 KiB", lambda: say("x", response_format={
        "type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["y" * 1000 + str(i) for i in range(300)]}}}))
    told("n = 1000", lambda: say("x", n=1000))
    for title, body, kind in [("half a request", b'{"messages": [', "application/json"), ("a form", b"a=b", "text/plain")]:
        reply = httpx.post(server.url + "/v1/chat/completions", content=body, headers={"content-type": kind})
        print(f"{title}: {reply.status_code} {reply.json()['error']['message']}")
        assert 400 <= reply.status_code < 500

    step("a client that disconnects")
    stream = client.chat.completions.create(model="", messages=LONG, stream=True, max_tokens=2000)
    for _, _ in zip(range(5), stream):
        pass
    assert server.metrics("meno_running") == 1
    stream.close()
    gone = time.monotonic()
    while server.metrics("meno_running"):
        assert time.monotonic() - gone < 30
        time.sleep(0.005)
    print(f"its slot is free after {1000 * (time.monotonic() - gone):.0f} ms")
    assert server.metrics("meno_queue_length") == 0

    step("SIGTERM while two streams run")
    streams = [client.chat.completions.create(model="", messages=LONG, stream=True, max_tokens=150, temperature=0) for _ in range(2)]
    [next(stream) for stream in streams]
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    try:
        say("one more")
    except openai.APIError as error:
        print("one more:", type(error).__name__, getattr(error, "status_code", ""), error.message)
    else:
        raise AssertionError("a server that stops took another request")
    texts = ["".join(c.choices[0].delta.content or "" for c in stream if c.choices) for stream in streams]
    print(f"both were finished: {len(texts[0])} and {len(texts[1])} characters, the same: {texts[0] == texts[1]};",
          "exit status", server.process.wait(60))
    assert texts[0] == texts[1] and len(texts[0]) > 100 and server.process.returncode == 0

print("\nall as expected")
