"""Published Python clients against a running `meno serve`, one line of JSON for each feature: `clients.py URL MODEL`.

Every check asserts what it expects; `run.sh` makes a table of the lines.
"""

import json
import os
import sys

os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LANGSMITH_TRACING="false", OPENAI_API_KEY="none",
                  ANTHROPIC_API_KEY="none")

import anthropic
import instructor
import litellm
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel

litellm.suppress_debug_info = True
url, model = sys.argv[1:3]
FRANCE = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
COUNT = [{"role": "user", "content": "Count from 1 to 5, separated by spaces, digits only."}]
WEATHER = [{"role": "user", "content": "What is the weather in Oslo right now? Use the tool."}]
THINK = [{"role": "user", "content": "First think between <think> and </think>, then answer. What is 17 + 25?"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather of a city.", "parameters": CITY}}
CLAUDE_TOOL = {"name": "get_weather", "description": "Weather of a city.", "input_schema": CITY}
RESULT = '{"celsius": -3, "sky": "snow"}'


class Person(BaseModel):
    name: str
    age: int


PERSON = [{"role": "user", "content": "Ada is 36 years old. Give her name and age as JSON."}]


def check(client, feature):
    def run(function):
        try:
            function()
            print(json.dumps({"client": client, "feature": feature, "ok": True, "why": ""}), flush=True)
        except Exception as error:  # a cell of the table
            print(json.dumps({"client": client, "feature": feature, "ok": False, "why": repr(error)[:400]}), flush=True)
        return function
    return run


def snow(text):
    assert "snow" in text.lower() or "-3" in text, text


def ada(person):
    assert person.name.startswith("Ada") and person.age == 36, person


# openai
gpt = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0, timeout=600)
ask = dict(model=model, temperature=0, max_tokens=200)


@check("openai", "answer")
def _():
    assert "paris" in gpt.chat.completions.create(messages=FRANCE, **ask).choices[0].message.content.lower()


@check("openai", "stream")
def _():
    text = "".join(c.choices[0].delta.content or "" for c in
                   gpt.chat.completions.create(messages=FRANCE, stream=True, **ask) if c.choices)
    assert "paris" in text.lower()


@check("openai", "stop strings")
def _():
    choice = gpt.chat.completions.create(messages=COUNT, stop=["3"], **ask).choices[0]
    assert "2" in choice.message.content and "3" not in choice.message.content and choice.finish_reason == "stop"


@check("openai", "tools")
def _():
    reply = gpt.chat.completions.create(messages=WEATHER, tools=[TOOL], tool_choice="required", **ask).choices[0].message
    assert json.loads(reply.tool_calls[0].function.arguments)["city"]
    more = [*WEATHER, reply.model_dump(exclude_none=True), {
        "role": "tool", "tool_call_id": reply.tool_calls[0].id, "content": RESULT}]
    snow(gpt.chat.completions.create(messages=more, tools=[TOOL], **ask).choices[0].message.content)


@check("openai", "structured output")
def _():
    ada(gpt.chat.completions.parse(messages=PERSON, response_format=Person, **ask).choices[0].message.parsed)


@check("openai", "thoughts")
def _():
    reply = gpt.chat.completions.create(messages=THINK, extra_body={"thinking_budget": 60}, **ask).choices[0].message
    assert reply.reasoning_content and "think>" not in reply.content


@check("openai", "embeddings")
def _():
    a, b, c = (d.embedding for d in gpt.embeddings.create(
        model=model, input=["a cat", "a cat", "tax law"], extra_body={"pooling": "mean"}).data)
    dot = lambda x, y: sum(p * q for p, q in zip(x, y))
    assert abs(dot(a, a) - 1) < 1e-4 and abs(dot(a, b) - 1) < 1e-4 and dot(a, c) < 0.999


@check("openai", "prompt log-probabilities")
def _():
    told = gpt.completions.create(model=model, prompt="The capital of France is Paris", echo=True, logprobs=1,
                                  max_tokens=0).choices[0]
    assert told.text == "The capital of France is Paris" == "".join(told.logprobs.tokens)
    assert told.logprobs.token_logprobs[0] is None and told.logprobs.token_logprobs[-1] < 0


@check("openai", "completions")
def _():
    assert gpt.completions.create(model=model, prompt="1, 2, 3,", temperature=0, max_tokens=4).choices[0].text


@check("openai", "filling in the middle")
def _():
    text = gpt.completions.create(model=model, prompt="def add(a, b):\n    return ", suffix="\n\nprint(add(1, 2))\n",
                                  temperature=0, max_tokens=20).choices[0].text
    assert "a + b" in text, text


@check("openai", "errors by their class")
def _():
    for error, call in [(openai.NotFoundError, dict(model="other")), (openai.BadRequestError, dict(model=model, temperature=-1))]:
        try:
            gpt.chat.completions.create(messages=FRANCE, **call)
        except error:
            continue
        raise AssertionError(f"{error} expected")


# anthropic
claude = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, timeout=600)
polite = dict(model=model, max_tokens=200, extra_body={"temperature": 0})  # this client has no temperature any more


def said(message):
    return "".join(block.text for block in message.content if block.type == "text")


@check("anthropic", "answer")
def _():
    reply = claude.messages.create(messages=FRANCE, system="You are brief.", **polite)
    assert "paris" in said(reply).lower() and reply.stop_reason == "end_turn" and reply.usage.output_tokens > 0


@check("anthropic", "stream")
def _():
    with claude.messages.stream(messages=FRANCE, **polite) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "paris" in text.lower() and said(final) == text and final.usage.input_tokens + final.usage.cache_read_input_tokens > 0


@check("anthropic", "stop strings")
def _():
    reply = claude.messages.create(messages=COUNT, stop_sequences=["3"], **polite)
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", "3") and "2" in said(reply)


@check("anthropic", "tools")
def _():
    reply = claude.messages.create(messages=WEATHER, tools=[CLAUDE_TOOL], tool_choice={"type": "any"}, **polite)
    [call, *_] = [block for block in reply.content if block.type == "tool_use"]
    assert reply.stop_reason == "tool_use" and call.input["city"]
    with claude.messages.stream(messages=WEATHER, tools=[CLAUDE_TOOL], tool_choice={"type": "any"}, **polite) as stream:
        assert [b.input for b in stream.get_final_message().content if b.type == "tool_use"][0] == call.input
    more = [*WEATHER, {"role": "assistant", "content": [b.model_dump() for b in reply.content]}, {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": call.id, "content": RESULT}]}]
    snow(said(claude.messages.create(messages=more, tools=[CLAUDE_TOOL], **polite)))


@check("anthropic", "structured output")
def _():
    schema = {**Person.model_json_schema(), "additionalProperties": False}
    reply = claude.messages.create(messages=PERSON, output_config={"format": {"type": "json_schema", "schema": schema}}, **polite)
    ada(Person.model_validate_json(said(reply)))


@check("anthropic", "thoughts")
def _():
    thinking = {"type": "enabled", "budget_tokens": 60}
    reply = claude.messages.create(messages=THINK, thinking=thinking, **polite)
    assert [b.type for b in reply.content] == ["thinking", "text"] and reply.content[0].signature
    more = [*THINK, {"role": "assistant", "content": [b.model_dump() for b in reply.content]},
            {"role": "user", "content": "And plus one?"}]
    assert said(claude.messages.create(messages=more, thinking=thinking, **polite))


@check("anthropic", "counting tokens")
def _():
    count = claude.messages.count_tokens(model=model, messages=FRANCE, tools=[CLAUDE_TOOL]).input_tokens
    usage = claude.messages.create(messages=FRANCE, tools=[CLAUDE_TOOL], **{**polite, "max_tokens": 1}).usage
    assert count == usage.input_tokens + usage.cache_read_input_tokens


@check("anthropic", "prefill")
def _():
    begun = [*FRANCE, {"role": "assistant", "content": "The capital of France is"}]
    assert "paris" in said(claude.messages.create(messages=begun, **polite)).lower()


@check("anthropic", "errors by their class")
def _():
    for error, call in [(anthropic.NotFoundError, dict(model="claude-other", messages=FRANCE)),
                        (anthropic.BadRequestError, dict(model=model, messages=[{"role": "user", "content": [
                            {"type": "image", "source": {"type": "url", "url": "http://x/y.png"}}]}]))]:
        try:
            claude.messages.create(max_tokens=5, **call)
        except error as e:
            assert e.body["type"] == "error" and e.request_id
            continue
        raise AssertionError(f"{error} expected")


# litellm, over both APIs
for name, prefix, base in [("litellm (OpenAI)", "openai/", url + "/v1"), ("litellm (Anthropic)", "anthropic/", url)]:
    lite = dict(model=prefix + model, api_base=base, api_key="none", temperature=0, max_tokens=200)

    @check(name, "answer")
    def _():
        assert "paris" in litellm.completion(messages=FRANCE, **lite).choices[0].message.content.lower()

    @check(name, "stream")
    def _():
        chunks = litellm.completion(messages=FRANCE, stream=True, **lite)
        assert "paris" in "".join(c.choices[0].delta.content or "" for c in chunks).lower()

    @check(name, "tools")
    def _():
        reply = litellm.completion(messages=WEATHER, tools=[TOOL], tool_choice="required", **lite).choices[0].message
        assert json.loads(reply.tool_calls[0].function.arguments)["city"]
        more = [*WEATHER, reply.model_dump(), {"role": "tool", "tool_call_id": reply.tool_calls[0].id, "content": RESULT}]
        snow(litellm.completion(messages=more, tools=[TOOL], **lite).choices[0].message.content)


@check("litellm (OpenAI)", "structured output")
def _():
    reply = litellm.completion(model="openai/" + model, api_base=url + "/v1", api_key="none", temperature=0, max_tokens=200,
                               messages=PERSON, response_format=Person)
    ada(Person.model_validate_json(reply.choices[0].message.content))


@check("litellm (OpenAI)", "embeddings")
def _():
    reply = litellm.embedding(model="openai/" + model, api_base=url + "/v1", api_key="none", input=["a", "b"])
    assert len(reply.data) == 2


# langchain, over both APIs
for name, chat in [
    ("langchain-openai", ChatOpenAI(base_url=url + "/v1", api_key="none", model=model, temperature=0, max_tokens=200)),
    ("langchain-anthropic", ChatAnthropic(base_url=url, api_key="none", model=model, temperature=0, max_tokens=200)),
]:
    @check(name, "answer")
    def _():
        assert "paris" in chat.invoke(FRANCE).text.lower()

    @check(name, "stream")
    def _():
        assert "paris" in "".join(chunk.text for chunk in chat.stream(FRANCE)).lower()

    @check(name, "stop strings")
    def _():
        assert "3" not in chat.invoke(COUNT, stop=["3"]).text

    @check(name, "tools")
    def _():
        bound = chat.bind_tools([TOOL], tool_choice="any")
        history = [HumanMessage(WEATHER[0]["content"])]
        reply = bound.invoke(history)
        assert reply.tool_calls[0]["args"]["city"]
        history += [reply, ToolMessage(RESULT, tool_call_id=reply.tool_calls[0]["id"])]
        snow(chat.bind_tools([TOOL]).invoke(history).text)

    @check(name, "structured output")
    def _():
        method = "json_schema" if name == "langchain-openai" else "function_calling"
        ada(chat.with_structured_output(Person, method=method).invoke(PERSON))


@check("langchain-openai", "embeddings")
def _():
    made = OpenAIEmbeddings(base_url=url + "/v1", api_key="none", model=model, check_embedding_ctx_length=False)
    assert len(made.embed_documents(["a", "b"])) == 2


@check("langchain-openai", "completions")
def _():
    assert OpenAI(base_url=url + "/v1", api_key="none", model=model, max_tokens=5).invoke("1, 2, 3,")


# instructor
for feature, mode in [("structured output", instructor.Mode.JSON_SCHEMA), ("tools", instructor.Mode.TOOLS)]:
    @check("instructor", feature)
    def _():
        made = instructor.from_openai(gpt, mode=mode)
        ada(made.chat.completions.create(messages=PERSON, response_model=Person, max_retries=0, **ask))
