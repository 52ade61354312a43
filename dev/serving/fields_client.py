"""Fields of vLLM, llama.cpp, SGLang and Ollama, sent with OpenAI's client; every step asserts what it expects.

    python dev/serving/fields_client.py http://127.0.0.1:8000/v1

The server serves a model that follows instructions and calls tools, such as qwen2.5-coder-0.5b-instruct.
"""

import json
import re
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1", api_key="none")
MODEL = client.models.list().data[0].id


def chat(messages, **fields):
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    fields.setdefault("max_tokens", 60)
    reply = client.chat.completions.create(model=MODEL, messages=messages, temperature=0, **fields)
    return reply, reply.choices[0]


def text(messages, **fields):
    return chat(messages, **fields)[1].message.content


def refused(param, code, words, messages="hi", **fields):
    try:
        chat(messages, **fields)
    except openai.BadRequestError as error:
        body = error.body
        assert (body["param"], body["code"]) == (param, code) and words in body["message"], body
        print(f"{param}: 400 {code}: {body['message'][:150]}")
    else:
        raise AssertionError(f"{param} was taken")


print("## forms")
schema = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
    "propertyNames": {"type": "string"},
}
for name, value in [("guided_json", schema), ("json_schema", schema), ("format", schema)]:
    print(name, answer := text("Name a city.", extra_body={name: value}))
    assert list(json.loads(answer)) == ["city"]
assert list(json.loads(text("Name a city.", response_format={"type": "json_object", "schema": schema}))) == ["city"]
assert text("Is the sky blue?", extra_body={"guided_choice": ["perhaps", "certainly"]}) in ["perhaps", "certainly"]
gbnf = 'root ::= num " + " num " = " num\nnum ::= [0-9]+'
print("grammar", answer := text("What is 2+3?", extra_body={"grammar": gbnf}))
assert re.fullmatch(r"\d+ \+ \d+ = \d+", answer)

print("## limits")
reply, choice = chat("Say hi.", extra_body={"min_tokens": 25})
assert reply.usage.completion_tokens >= 25
reply, choice = chat("Count from 1 to 5.", max_tokens=-1, stop=["4"])
assert choice.finish_reason == "stop" and "4" not in choice.message.content
reply, choice = chat("Say hi.", max_tokens=30, extra_body={"ignore_eos": True})
assert (choice.finish_reason, reply.usage.completion_tokens) == ("length", 30)

print("## the last message goes on")
begun = [
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "The capital of France is the beautiful city of"},
]
print(answer := text(begun, extra_body={"continue_final_message": True, "add_generation_prompt": False}))
assert answer.startswith(" Paris")

print("## tools")
weather = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
broken = {"type": "function", "function": {"name": "broken", "parameters": {"properties": {"a": {"type": "any"}}}}}
shell = {"type": "custom", "custom": {"name": "shell", "description": "Runs a shell command"}}
_, choice = chat("Weather in Oslo?", tools=[weather, broken], tool_choice="required", parallel_tool_calls=False)
assert choice.message.tool_calls[0].function.name == "get_weather"
only = {"mode": "required", "tools": [{"type": "function", "function": {"name": "get_weather"}}]}
_, choice = chat("Run ls.", tools=[weather, shell], tool_choice={"type": "allowed_tools", "allowed_tools": only})
assert {call.function.name for call in choice.message.tool_calls} == {"get_weather"}
_, choice = chat("List the files with ls -l.", tools=[shell], tool_choice={"type": "custom", "custom": {"name": "shell"}})
print("custom:", choice.message.tool_calls[0].custom.input)
call = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo'}}
history = [
    {"role": "user", "content": "Weather in Oslo?"},
    {"role": "assistant", "content": None, "tool_calls": [call]},
    {"role": "tool", "tool_call_id": "1", "content": "rain"},
]
chat(history, tools=[weather])

print("## invalid requests")
refused("mirostat", "unsupported_value", "samplers", extra_body={"mirostat": 2})
refused("temperture", "unknown_parameter", 'did you mean "temperature"', extra_body={"temperture": 0})
refused("messages", "context_length_exceeded", "This model's maximum context length is ", "x y " * 200_000)
refused("messages[0].content", "invalid_value", "expected a string", [{"role": "user", "content": 5}])
named = {"type": "function", "function": {"name": "broken"}}
refused("tools[0].function.parameters", "invalid_value", "at #/properties/a/type", tools=[broken], tool_choice=named)

print("## responses and completions")
reply = client.responses.create(model=MODEL, input="Tell a long story.", max_output_tokens=8)
assert (reply.status, [item.status for item in reply.output]) == ("incomplete", ["incomplete"])
reply = client.completions.create(model=MODEL, prompt="🫠🫡" * 5 + "🫠", max_tokens=8, temperature=0, logprobs=1)
print(reply.choices[0].logprobs.tokens, reply.choices[0].logprobs.text_offset)
