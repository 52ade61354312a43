"""Writes what transformers' Jinja makes of chat templates, for crates/meno-engine/tests/text.rs.

Usage: python dev/reference/chat_template.py DEEPSEEK_DIR [QWEN.gguf]
Written to crates/meno-engine/tests/fixtures/chat_template.json: the template of R1 (from tokenizer_config.json), that
of Qwen2.5 (from the GGUF file's metadata) and custom ones, each with conversations and the rendered prompts
(or the message it raises).
"""

import json
import sys
from pathlib import Path

import jinja2
import transformers
from hard_texts import TEXTS
from transformers.utils.chat_template_utils import _compile_jinja_template

FIXTURE = Path(__file__).parents[2] / "crates/meno-engine/tests/fixtures/chat_template.json"

user = lambda text: {"role": "user", "content": text}  # noqa: E731
assistant = lambda text: {"role": "assistant", "content": text}  # noqa: E731
call = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"type": "function", "function": {"name": "weather", "arguments": '{"city": "北京"}'}},
        {"type": "function", "function": {"name": "time", "arguments": "{}"}},
    ],
}
tools = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "What's the <weather> & \"wind\"?",
            "parameters": {"type": "object", "properties": {"city": {"type": "string", "default": None, "x": 1.0}}},
        },
    }
]
CONVERSATIONS = [
    [user("Hello")],
    [{"role": "system", "content": "Be brief."}, user("1+1?"), assistant("<think>\nsum\n</think>\n\n2"), user("再来")],
    [{"role": "system", "content": "A"}, {"role": "system", "content": "B"}, user("x")],
    [user("q"), assistant("no tags"), user("r"), assistant("a</think>b</think>c"), user("")],
    [user("w?"), call, {"role": "tool", "content": "rain"}, {"role": "tool", "content": "12:00"}],
    [user("w?"), call, {"role": "tool", "content": "rain"}, assistant("It rains."), user("ok")],
    [user("\n".join(TEXTS))],
]

OWN = {
    "blocks": "{% for m in messages %}\n    {% if m.role == 'user' %}\n  U: {{ m.content }}\n    {%- else %}\n"
    "A: {{ m.content }}\n    {% endif %}\n  \n{% endfor %}\n{#- comment #}  end\n\n",
    "python": "{{ [1, 2.5, true, none, 'it\\'s', {'a': false}] }} {{ true }} {{ none }} {{ 1.0 }} {{ messages[-1].role }}"
    "{{ messages[0].content.strip().upper()[:5] }}|{{ 'a,b,c'.split(',') }}|{{ 'x' in 'xyz' }}|{{ messages | length }}"
    "|{{ 7 // 2 }}|{{ 7 / 2 }}|{{ 2 ** 3 }}|{{ -7 % 3 }}|{{ 'ab' * 2 }}|{{ [1] + [2] }}|{{ 'é' | upper }}"
    "|{{ 'A b'.lower().replace('b', 'c').startswith('a') }}|{{ '  x '.lstrip() }}|{{ 'xxyxx'.rstrip('x') }}"
    "|{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{% endfor %}|{{ 'abc'[::-1] }}|{{ messages[1:] | length }}",
    "tojson": "{{ tools | tojson }}\n{{ tools | tojson(indent=4) }}{{ 'ü<>&\\'' | tojson }}{{ [] | tojson(indent=2) }}",
    "namespace": "{% set ns = namespace(n=0, last='') %}{% for m in messages if m.role == 'user' %}"
    "{% set ns.n = ns.n + 1 %}{% set ns.last = m.content %}{{ loop.index }}{{ loop.last }}{% endfor %}{{ ns.n }}",
    "macros": "{% macro turn(m, sep='\\n') %}{{ m.role }}: {{ m.content }}{{ sep }}{% endmacro %}"
    "{% for m in messages %}{{ turn(m) }}{{ turn(m, sep='|') }}{% endfor %}",
    "raises": "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}{{ m.content }}{% endfor %}",
    "controls": "{% for m in messages %}{% if loop.index > 3 %}{% break %}{% endif %}{% if m.role != 'user' %}"
    "{% continue %}{% endif %}{{ m.content }};{% endfor %}",
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{% endgeneration %}{% else %}{{ m.content }}{% endif %}\n{% endfor %}",
    "tests": "{{ tools is defined }}{{ foo is defined }}{{ tools is iterable }}{{ messages[0].content is string }}"
    "{{ messages[0] is mapping }}{{ 3 is number }}{{ foo }}{{ (foo | default('d')) }}{{ none is none }}"
    "{{ [3,1,2] | sort | join(',') }}{{ messages | map(attribute='role') | join('-') }}"
    "{{ (messages | selectattr('role', 'equalto', 'user') | list) | length }}{{ 'x' if add_generation_prompt else 'y' }}"
    "{{ ' a ' | trim }}{{ [1,2] | first }}{{ 'a\\nb' | indent(2) }}{{ 5 | string + '!' }}{{ '7' | int + 1 }}",
}


def render(template: str, conversation: list, generation_prompt: bool, extras: dict) -> dict:
    """As apply_chat_template: keys that are None are dropped. Where that fails, content=None stays, as R1's template
    has it; `tools` and `documents` are None where they are not given."""
    case = {"messages": conversation, "add_generation_prompt": generation_prompt, "extras": extras}
    compiled = _compile_jinja_template(template)
    without_none = [{k: v for k, v in m.items() if v is not None} for m in conversation]
    variables = {"tools": None, "documents": None, **extras, "add_generation_prompt": generation_prompt}
    for messages in (without_none, conversation):
        try:
            case["text"] = compiled.render(messages=messages, **variables)
            case.pop("raises", None)
            break
        except (jinja2.TemplateError, TypeError) as e:
            case.setdefault("raises", str(e))
    return case


config = json.loads(Path(sys.argv[1], "tokenizer_config.json").read_text())
r1 = {"bos_token": config["bos_token"]["content"], "eos_token": config["eos_token"]["content"]}
templates = [("r1", config["chat_template"], r1)]
if len(sys.argv) > 2:
    import gguf

    field = gguf.GGUFReader(sys.argv[2]).get_field("tokenizer.chat_template")
    templates.append(("qwen2.5", field.contents(), {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}))
templates += [(name, source, {}) for name, source in OWN.items()]

out = []
for name, source, tokens in templates:
    cases = [render(source, c, g, {**tokens}) for c in CONVERSATIONS for g in (False, True)]
    cases += [render(source, CONVERSATIONS[0], True, {**tokens, "tools": tools})]
    out.append({"name": name, "template": source, "cases": cases})
versions = {"jinja2": jinja2.__version__, "transformers": transformers.__version__}
FIXTURE.write_text(json.dumps({**versions, "templates": out}, ensure_ascii=False, indent=1) + "\n")
