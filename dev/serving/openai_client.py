"""The official `openai` client against a running `meno serve`: `python dev/serving/openai_client.py URL [KEY]`.

Prints what it asked and what came; every step asserts what it expects. `docs/serving.md` holds a transcript.
"""

import json
import sys

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

step("completions.create(…)")
reply = client.completions.create(model=model, prompt="fn main() {\n    println!(", temperature=0, max_tokens=12)
print(repr(reply.choices[0].text), reply.usage.completion_tokens)

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
    ("embeddings", lambda: client.embeddings.create(model=model, input="x")),
]:
    try:
        call()
    except openai.APIStatusError as error:
        print(f"{title}: {type(error).__name__} {error.status_code}: {error.body['message']}")
    else:
        raise AssertionError(f"{title} was not refused")
print("\nall as expected")
