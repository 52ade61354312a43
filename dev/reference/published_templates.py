"""Golden renderings of published chat templates by transformers, for crates/meno-engine/tests/templates.rs.

    python dev/reference/published_templates.py TEMPLATES OUT.json [NAME...]

TEMPLATES is a directory of `*.jinja` files (llama.cpp's models/templates, which the llama-cpp-python source package
carries); with names only those. `strftime_now` gives its format in double angle brackets, for the test to fill in.
The committed fixture, crates/meno-engine/tests/fixtures/published_templates.json, holds those of COMMITTED.
"""

import json
import sys
from pathlib import Path

import jinja2
import transformers
from transformers.utils.chat_template_utils import (
    _compile_jinja_template,
    _normalize_chat_messages,
    render_jinja_template,
)

COMMITTED = [
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
    "deepseek-ai-DeepSeek-V3.1",
    "deepseek-ai-DeepSeek-V3.2",
    "Qwen-Qwen2.5-7B-Instruct",
    "Qwen-Qwen3-0.6B",
    "Qwen-QwQ-32B",
    "Qwen3-Coder",
    "meta-llama-Llama-3.1-8B-Instruct",
    "meta-llama-Llama-3.2-3B-Instruct",
    "mistralai-Mistral-Nemo-Instruct-2407",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use",
    "google-gemma-2-2b-it",
    "microsoft-Phi-3.5-mini-instruct",
    "moonshotai-Kimi-K2",
    "GLM-4.6",
    "openai-gpt-oss-120b",
    "HuggingFaceTB-SmolLM3-3B",
    "ibm-granite-granite-3.3-2B-Instruct",
]

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather at a place: \"now\" & <soon> — ünïcode",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "e.g. 北京"},
                    "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
                    "days": {"type": "integer", "minimum": 1, "maximum": 7.5},
                },
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "now",
            "description": "The time.",
            "parameters": {"type": "object", "properties": {}},
            "return": {"type": "string", "description": "ISO 8601"},
        },
    },
]


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, id="call00001"):
    return {"type": "function", "id": id, "function": {"name": name, "arguments": arguments}}


WEATHER = {"city": "北京", "unit": "C", "days": 3, "exact": True, "ratio": 0.5, "note": None, "at": ["x", {"y": "'\"\\"}]}
ASK = turn("user", "Weather in 北京?")
CONVERSATIONS = [
    # (messages, tools, further variables)
    ([turn("user", "Hello!")], False, {}),
    ([turn("system", "You are brief.\n"), turn("user", " 1+1? <b>&amp;</b> ünïcode 你好 😀 ")], False, {}),
    ([turn("user", "a"), turn("assistant", "b"), turn("user", "c"), turn("assistant", "d\n"), turn("user", "e")], False, {}),
    (
        [
            turn("system", "S"),
            turn("user", "2+2?"),
            turn("assistant", "<think>\nfour\n</think>\n\n4"),
            turn("user", "3+3?"),
            turn("assistant", "6", reasoning_content="\nsix\n"),
            turn("user", "again"),
        ],
        False,
        {},
    ),
    ([turn("user", "q"), turn("assistant", "a", reasoning="why")], False, {"enable_thinking": True}),
    ([turn("user", "q")], False, {"enable_thinking": False, "thinking": False, "reasoning_effort": "low"}),
    ([turn("system", "S"), turn("user", "q")], False, {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"}),
    ([ASK], True, {}),
    ([turn("system", "Use tools."), ASK, turn("assistant", "", tool_calls=[call("get_weather", WEATHER)])], True, {}),
    (
        [
            turn("system", "Use tools."),
            ASK,
            turn("assistant", None, tool_calls=[call("get_weather", WEATHER)]),
            turn("tool", "rain, 12 °C", tool_call_id="call00001", name="get_weather"),
            turn("assistant", "It rains."),
            turn("user", "And now?"),
        ],
        True,
        {},
    ),
    (
        [
            ASK,
            turn("assistant", "Let me see.", tool_calls=[call("get_weather", json.dumps(WEATHER, ensure_ascii=False))]),
            turn("tool", '{"sky": "rain"}', tool_call_id="call00001", name="get_weather"),
        ],
        True,
        {},
    ),
    (
        [
            ASK,
            turn(
                "assistant",
                "",
                reasoning_content="Both.",
                tool_calls=[call("get_weather", {"city": "Rom"}), call("now", {}, "call00002")],
            ),
            turn("tool", "sun", tool_call_id="call00001", name="get_weather"),
            turn("tool", "12:00", tool_call_id="call00002", name="now"),
        ],
        True,
        {"thinking": True},
    ),
    ([turn("user", [{"type": "text", "text": "part one, "}, {"type": "text", "text": "part two"}])], False, {}),
    ([turn("user", "x"), turn("user", "y"), turn("assistant", ""), turn("tool", "z")], False, {}),
    ([turn("assistant", "first"), turn("system", "late"), turn("user", "")], False, {}),
    ([turn("user", "q")], True, {"tools_in_user_message": False, "date_string": "26 Jul 2024"}),
    ([turn("user", "doc?")], False, {"documents": [{"title": "T", "text": "body\n", "doc_id": 1}]}),
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def case(source, index, generation_prompt):
    messages, tools, extras = CONVERSATIONS[index]
    row = {"conversation": index, "add_generation_prompt": generation_prompt}
    try:
        _compile_jinja_template(source).globals["strftime_now"] = lambda format: f"<<{format}>>"
        chats = [_normalize_chat_messages(messages)]
        variables = {"add_generation_prompt": generation_prompt, **TOKENS, **extras}
        texts, _ = render_jinja_template(chats, TOOLS if tools else None, chat_template=source, **variables)
        row["text"] = texts[0]
    except Exception as e:  # whatever Python rejects: the template's own errors, its missing keys, its wrong types
        row["raises"] = f"{type(e).__name__}: {e}"
    return row


def main(directory, out, *names):
    files = sorted(Path(directory).glob("*.jinja"))
    templates = []
    for path in files:
        if names and path.stem not in names:
            continue
        source = path.read_text()
        cases = [case(source, i, True) for i in range(len(CONVERSATIONS))] + [case(source, i, False) for i in (2, 3, 9)]
        templates.append({"name": path.stem, "template": source, "cases": cases})
    data = {
        "transformers": transformers.__version__,
        "jinja2": jinja2.__version__,
        "tokens": TOKENS,
        "tools": TOOLS,
        "conversations": [{"messages": m, "tools": t, "extras": e} for m, t, e in CONVERSATIONS],
        "templates": templates,
    }
    Path(out).write_text(json.dumps(data, ensure_ascii=False, indent=0) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:3], *(sys.argv[3:] or COMMITTED if not sys.argv[3:] == ["all"] else []))
