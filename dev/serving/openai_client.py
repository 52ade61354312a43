"""The official `openai` client against a running `meno serve`: `python dev/serving/openai_client.py URL [KEY]`.

Prints what it asked and what came; every step asserts what it expects. `docs/serving.md` holds a transcript.
"""

import json
import sys
import threading
import urllib.request

import openai

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
client = openai.OpenAI(base_url=url, api_key=sys.argv[2] if len(sys.argv) > 2 else "none", max_retries=0)


def step(title):
    print(f"\n## {title}")


step("client.models.list()")
model = client.models.list().data[0].id
print(model)
assert client.models.retrieve(model).id == model

step("chat.completions.create(…)")
question = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
reply = client.chat.completions.create(model=model, messages=question, temperature=0, max_tokens=400)
answer = reply.choices[0].message.content
print(repr(answer), reply.choices[0].finish_reason, reply.usage)
assert "paris" in answer.lower()

step("… stream=True, stream_options={'include_usage': True}")
text, usage = "", None
for chunk in client.chat.completions.create(
    model=model, messages=question, temperature=0, max_tokens=400, stream=True, stream_options={"include_usage": True}
):
    usage = chunk.usage or usage
    for choice in chunk.choices:
        text += choice.delta.content or ""
print(repr(text), usage)
assert text == answer and usage.completion_tokens == reply.usage.completion_tokens

step("… n=2, seed=7, temperature=1, twice")
poem = [{"role": "user", "content": "Write one line about the sea."}]
runs = [
    [c.message.content for c in client.chat.completions.create(
        model=model, messages=poem, n=2, seed=7, temperature=1, max_tokens=40).choices]
    for _ in range(2)
]
print(runs[0])
assert runs[0] == runs[1] and runs[0][0] != runs[0][1]

step("… the same seed, while six other answers are being written")
def crowd(i):
    client.chat.completions.create(model=model, messages=[{"role": "user", "content": f"Tell a story about {i} cats."}],
                                   temperature=1, max_tokens=60)
others = [threading.Thread(target=crowd, args=(i,)) for i in range(6)]
for thread in others:
    thread.start()
reply = client.chat.completions.create(model=model, messages=poem, n=2, seed=7, temperature=1, max_tokens=40)
print(sum(thread.is_alive() for thread in others), "others still running;", [c.message.content for c in reply.choices] == runs[0])
assert [c.message.content for c in reply.choices] == runs[0]
for thread in others:
    thread.join()

step("… logprobs=True, top_logprobs=2, max_tokens=2")
reply = client.chat.completions.create(
    model=model, messages=question, temperature=0, max_tokens=2, logprobs=True, top_logprobs=2)
for token in reply.choices[0].logprobs.content:
    print(repr(token.token), round(token.logprob, 4), [(t.token, round(t.logprob, 4)) for t in token.top_logprobs])
assert reply.choices[0].logprobs.content[0].top_logprobs[0].logprob >= reply.choices[0].logprobs.content[0].logprob

step("… stop=['3']")
count = [{"role": "user", "content": "Count from 1 to 5, separated by spaces, digits only."}]
reply = client.chat.completions.create(model=model, messages=count, temperature=0, max_tokens=60, stop=["3"])
print(repr(reply.choices[0].message.content), reply.choices[0].finish_reason)
assert "3" not in reply.choices[0].message.content

step("… logit_bias={<Paris>: -100}")
[paris, *_] = json.load(urllib.request.urlopen(urllib.request.Request(
    url.removesuffix("/v1") + "/tokenize", json.dumps({"prompt": answer}).encode(), {"content-type": "application/json",
    "authorization": f"Bearer {client.api_key}"})))["tokens"]
reply = client.chat.completions.create(model=model, messages=question, temperature=0, max_tokens=8, logit_bias={str(paris): -100})
print(repr(reply.choices[0].message.content))
assert not reply.choices[0].message.content.startswith("Paris")

step("… presence_penalty=2, frequency_penalty=2")
again = [{"role": "user", "content": "Repeat the word 'la' twenty times."}]
plain, varied = (client.chat.completions.create(
    model=model, messages=again, temperature=0, max_tokens=40, presence_penalty=p, frequency_penalty=p
).choices[0].message.content for p in (0, 2))
print(repr(plain), repr(varied), sep="\n")
assert varied.lower().count("la") < plain.lower().count("la")

step("chat.completions.parse(response_format=<a schema>)")
schema = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 40}, "population_millions": {"type": "number"},
                   "in_europe": {"type": "boolean"}},
    "required": ["name", "population_millions", "in_europe"],
    "additionalProperties": False,
}
reply = client.chat.completions.create(
    model=model, messages=[{"role": "user", "content": "Describe the city of Paris as JSON."}], temperature=0,
    max_tokens=200, response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}})
print(reply.choices[0].message.content)
city = json.loads(reply.choices[0].message.content)
assert set(city) == {"name", "population_millions", "in_europe"}

step("… json_object, regex, a Lark grammar, a choice")
for title, prompt, form, check in [
    ("json_object", "Name a colour and a number, as JSON.", {"response_format": {"type": "json_object"}}, json.loads),
    ("regex", "When did the first human land on the moon? YYYY-MM-DD.",
     {"response_format": {"type": "regex", "regex": r"\d{4}-\d{2}-\d{2}"}}, lambda t: t.replace("-", "").isdigit() or 1 / 0),
    ("grammar", "Add two and three.",
     {"response_format": {"type": "grammar", "grammar": 'start: NUMBER " + " NUMBER " = " NUMBER\nNUMBER: /[0-9]+/'}},
     lambda t: t.split(" + ")[1].split(" = ")[1]),
    ("choice", "Is the sky blue?", {"structured_outputs": {"choice": ["certainly", "not at all"]}},
     ["certainly", "not at all"].index),
]:
    reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}], temperature=0,
                                           max_tokens=100, extra_body=form)
    print(f"{title}: {reply.choices[0].message.content!r}")
    check(reply.choices[0].message.content)

step("… a thought, asked for in words; with a budget of 4 tokens; with effort 'none'")
def think(**fields):
    reply = client.chat.completions.create(
        model=model, temperature=0, max_tokens=120, extra_body=fields,
        messages=[{"role": "user", "content": "First think between <think> and </think>, then answer. What is 17 + 25?"}])
    choice = reply.choices[0]
    thought = getattr(choice.message, "reasoning_content", None)
    print(f"thought {thought!r}\nanswer {choice.message.content!r}", reply.usage.completion_tokens_details.reasoning_tokens,
          getattr(choice, "reasoning_ended_by", None))
    assert "think>" not in (thought or "") + choice.message.content
think()
think(thinking_budget=4)
think(reasoning_effort="none")

step("… tools=[get_weather], tool_choice='auto', streamed; then the result")
tools = [{"type": "function", "function": {
    "name": "get_weather", "description": "Current weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]
messages = [{"role": "user", "content": "What is the weather in Oslo right now? Use the tool."}]
with client.chat.completions.stream(model=model, messages=messages, temperature=0, max_tokens=200, tools=tools) as stream:
    for event in stream:
        if event.type == "tool_calls.function.arguments.delta":
            print("  arguments so far:", event.arguments)
    completion = stream.get_final_completion()
message = completion.choices[0].message
print(completion.choices[0].finish_reason, [(c.function.name, c.function.arguments) for c in message.tool_calls or []])
assert message.tool_calls and json.loads(message.tool_calls[0].function.arguments)["city"]
messages += [message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"}),
             {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": '{"celsius": -3, "sky": "snow"}'}]
reply = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=100, tools=tools)
print(repr(reply.choices[0].message.content))
assert "snow" in reply.choices[0].message.content.lower() or "-3" in reply.choices[0].message.content

step("… tool_choice='required'")
reply = client.chat.completions.create(
    model=model, messages=[{"role": "user", "content": "Hello!"}], temperature=0, max_tokens=100, tools=tools,
    tool_choice="required", parallel_tool_calls=False)
call = reply.choices[0].message.tool_calls[0]
print(call.function.name, call.function.arguments)
assert call.function.name == "get_weather" and json.loads(call.function.arguments)

step("… tool_choice={'function': {'name': 'add'}}, 'none'")
more = tools + [{"type": "function", "function": {"name": "add", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"],
    "additionalProperties": False}}}]
reply = client.chat.completions.create(
    model=model, messages=[{"role": "user", "content": "What is 3 + 4?"}], temperature=0, max_tokens=100, tools=more,
    tool_choice={"type": "function", "function": {"name": "add"}})
call = reply.choices[0].message.tool_calls[0]
print(call.function.name, call.function.arguments)
assert call.function.name == "add" and set(json.loads(call.function.arguments)) == {"a", "b"}
reply = client.chat.completions.create(
    model=model, messages=[{"role": "user", "content": "What is 3 + 4?"}], temperature=0, max_tokens=60, tools=more, tool_choice="none")
print(repr(reply.choices[0].message.content))
assert not reply.choices[0].message.tool_calls

step("completions.create(…), whole and streamed, of two prompts with echo, with logprobs")
reply = client.completions.create(model=model, prompt="fn main() {\n    println!(", temperature=0, max_tokens=12)
print(repr(reply.choices[0].text), reply.usage.completion_tokens)
pieces = [chunk.choices[0].text for chunk in client.completions.create(
    model=model, prompt="fn main() {\n    println!(", temperature=0, max_tokens=12, stream=True) if chunk.choices]
assert "".join(pieces) == reply.choices[0].text
reply = client.completions.create(model=model, prompt=["1, 2, 3,", "a, b, c,"], temperature=0, max_tokens=4, echo=True)
print([c.text for c in reply.choices])
assert [c.text[:8] for c in reply.choices] == ["1, 2, 3,", "a, b, c,"]
reply = client.completions.create(model=model, prompt="1, 2, 3,", temperature=0, max_tokens=2, logprobs=1)
print(reply.choices[0].logprobs.tokens, [round(p, 4) for p in reply.choices[0].logprobs.token_logprobs])
assert "".join(reply.choices[0].logprobs.tokens) == reply.choices[0].text

step("responses.create(…), whole and streamed")
reply = client.responses.create(model=model, input="Say hello in French.", temperature=0, max_output_tokens=60)
print(repr(reply.output_text), reply.status)
with client.responses.stream(model=model, input="Say hello in French.", temperature=0, max_output_tokens=60) as stream:
    kinds = [event.type for event in stream]
    final = stream.get_final_response()
print(sorted(set(kinds)))
assert final.output_text == reply.output_text

step("errors")
for title, call in [
    ("another model", lambda: client.chat.completions.create(model="gpt-5", messages=question)),
    ("a temperature of −1", lambda: client.chat.completions.create(model=model, messages=question, temperature=-1)),
]:
    try:
        call()
    except openai.APIStatusError as error:
        print(f"{title}: {type(error).__name__} {error.status_code}: {error.body['message']}")
    else:
        raise AssertionError(f"{title} was not rejected")
print("\nall as expected")
