"""Golden examples of fine-tuning on conversations, for crates/meno-train/tests/sft.rs.

    python dev/reference/sft_examples.py

Every answer of the conversations below becomes a prompt and a completion, as TRL's SFTTrainer makes them of
`{"prompt": messages, "completion": [answer]}`: the prompt is `apply_chat_template(messages, add_generation_prompt=True)`,
prompt and completion are `apply_chat_template(messages + [answer])`, and the tokens after the prompt's are trained on.

Where a template drops the thought of the answer (R1's, V3.1's, SmolLM3's), the completion is the thought in the form in
which these models write it, `<think>\\n…\\n</think>\\n\\n`, before what the template leaves of the answer. Where it has no
form for thoughts, or does not write tools or their calls, the row says `refused`.

transformers renders and tokenizes; the templates are those of published_templates.json, the tokenizer is the small one
of the tests, to which each template's own tokens are added.
"""

import json
from pathlib import Path

import jinja2
import transformers
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import _compile_jinja_template

ROOT = Path(__file__).resolve().parents[2] / "crates"
FIXTURES = ROOT / "meno-engine/tests/fixtures"
CHATML = ["<|im_end|>", "<|im_start|>"]
# A template's own tokens, the ones that end an answer first, and how many these are.
SPECIAL = {
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": ([], 0),
    "deepseek-ai-DeepSeek-V3.1": ([], 0),
    "deepseek-ai-DeepSeek-V3.2": ([], 0),
    "Qwen-Qwen2.5-7B-Instruct": (CHATML, 1),
    "Qwen-Qwen3-0.6B": (CHATML, 1),
    "Qwen3-Coder": (CHATML, 1),
    "HuggingFaceTB-SmolLM3-3B": (CHATML, 1),
    "meta-llama-Llama-3.1-8B-Instruct": (["<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"], 1),
    "GLM-4.6": (["<|endoftext|>", "<|user|>", "<|observation|>", "<|assistant|>", "<|system|>"], 3),
    "moonshotai-Kimi-K2": (["<|im_end|>", "<|im_middle|>", "<|im_user|>", "<|im_assistant|>"], 1),
    "openai-gpt-oss-120b": (["<|return|>", "<|call|>", "<|end|>", "<|start|>", "<|channel|>", "<|message|>"], 2),
}
DROPS = {"Qwen-Qwen2.5-7B-Instruct", "Qwen3-Coder", "meta-llama-Llama-3.1-8B-Instruct", "moonshotai-Kimi-K2"}
EOS = "<｜end▁of▁sentence｜>"

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather at a place.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


CALL = [{"type": "function", "id": "call00001", "function": {"name": "get_weather", "arguments": {"city": "Rom"}}}]
RAIN = turn("tool", "rain", name="get_weather", tool_call_id="call00001")
ASK = turn("user", "Weather in Rom?")
CONVERSATIONS = [
    ([turn("system", "S"), turn("user", "1+1?"), turn("assistant", "2"), turn("user", "2+2?"), turn("assistant", "4!")], None),
    (
        [
            turn("user", "1+1?"),
            # The answer contains the thought, and the thought of the next turn is its answer.
            turn("assistant", "12", reasoning_content="1"),
            turn("user", "2+2?"),
            turn("assistant", "4", reasoning_content="4"),
        ],
        None,
    ),
    ([turn("user", "1+1?"), turn("assistant", "2", reasoning_content="\nline one\n\nline two\n")], None),
    ([turn("user", "1+1?"), turn("assistant", "<think>\none and one\n</think>\n\n2")], None),
    ([ASK, turn("assistant", None, tool_calls=CALL), RAIN, turn("assistant", "It rains.")], TOOLS),
    (
        [
            ASK,
            turn("assistant", None, tool_calls=CALL, reasoning_content="I must ask."),
            RAIN,
            turn("assistant", "It rains.", reasoning_content="So it does."),
        ],
        TOOLS,
    ),
    ([ASK, turn("assistant", None, tool_calls=CALL), RAIN, turn("assistant", "It rains.")], None),
]


def tokenizer_of(name):
    special, ends = SPECIAL[name]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(FIXTURES / "small_tokenizer/tokenizer.json"), bos_token="<｜begin▁of▁sentence｜>", eos_token=EOS
    )
    tokenizer.add_tokens([transformers.AddedToken(t, special=True, normalized=False) for t in special])
    if special:
        tokenizer.eos_token = special[0]
    return tokenizer, set(tokenizer.convert_tokens_to_ids([*special[:ends], EOS]))


def example(name, source, messages, index, tools):
    tokenizer, ends = tokenizer_of(name)
    answer = dict(messages[index])
    thought, final = answer.get("reasoning_content"), answer["content"] or ""
    if thought is None and "</think>" in final:
        thought, final = final.removeprefix("<think>").rsplit("</think>", 1)
        if "reasoning_content" in source or "message.thinking" in source:  # the template writes thoughts itself
            thought, final = thought.strip("\n"), final.strip("\n")
            answer = {**answer, "content": final, "reasoning_content": thought}
    wish = {"enable_thinking": True, "thinking": True} if thought else {}

    def render(chat, generation_prompt):
        wishes = {"date_string": "26 Jul 2024", "add_generation_prompt": generation_prompt, **wish}
        try:
            return tokenizer.apply_chat_template(chat, tools=tools, chat_template=source, tokenize=False, **wishes)
        except jinja2.UndefinedError:
            # R1's asks for the null that transformers takes out of a call; Qwen3's wants a text there.
            call = "" if "Qwen3" in name else None
            chat = [{**m, "content": call if m["content"] is None else m["content"]} for m in chat]
            template = _compile_jinja_template(source)
            return template.render(messages=chat, tools=tools, **wishes, **tokenizer.special_tokens_map)

    prompt, whole = render(messages[:index], True), render([*messages[:index], answer], False)
    if tools and tools[0]["function"]["name"] not in prompt:
        return {"refused": "the template does not write tools"}
    opens = prompt.rstrip().endswith("<think>")
    if opens and not thought:
        prompt += "\n</think>\n\n"
    if whole.startswith(prompt):
        completion = whole[len(prompt) :]
    else:
        # The prompt ends in tags that the template leaves out of an answer, or writes in another way.
        bare = prompt.rstrip().removesuffix("</think>").rstrip().removesuffix("<think>")
        if whole.startswith(bare):
            completion = whole[len(bare) :]
            if not opens or not thought:
                completion = completion.removeprefix("</think>")
        else:
            # Earlier turns are written in another way once an answer follows (gpt-oss drops their thoughts): the answer
            # is what follows the last generation prompt before it.
            ask = prompt.removeprefix(render(messages[:index], False))
            start = whole.rindex(ask, 0, whole.index(thought or final)) + len(ask)
            completion = whole[start:]
    if answer.get("tool_calls") and answer["tool_calls"][0]["function"]["name"] not in completion:
        return {"refused": "the template does not write calls"}
    end = completion.rfind(final.strip()) if final else len(completion)
    if thought and thought.strip("\n") not in completion[:end]:
        if name in DROPS:
            return {"refused": "the template has no form for thoughts"}
        thought = thought.strip("\n")
        if not opens:
            thought = "<think>\n" + thought
        if answer.get("reasoning_content") is None:
            completion = thought + "\n</think>" + completion.removeprefix("</think>")
        elif completion.startswith("</think>"):
            completion = thought + completion
        else:
            completion = thought + "\n</think>\n\n" + completion
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    rest = tokenizer(prompt + completion, add_special_tokens=False)["input_ids"]
    rest = rest[len(ids) :] if rest[: len(ids)] == ids else tokenizer(completion, add_special_tokens=False)["input_ids"]
    last = max((i for i, token in enumerate(rest) if token in ends), default=None)
    if last is None:
        rest.append(tokenizer.eos_token_id)
    elif not tokenizer.decode(rest[last + 1 :]).strip():
        rest = rest[: last + 1]
    return {"prompt": prompt, "completion": completion, "prompt_ids": ids, "completion_ids": rest}


def with_text_arguments(messages):
    """The messages with the arguments of calls as JSON text, which R1's template asks for."""
    messages = json.loads(json.dumps(messages))
    for message in messages:
        for call in message.get("tool_calls", []):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"], separators=(",", ":"))
    return messages


def examples(name, source, messages, tools):
    turns = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    try:
        return [example(name, source, messages, i, tools) for i in turns]
    except TypeError:
        return [example(name, source, with_text_arguments(messages), i, tools) for i in turns]


def main():
    published = {t["name"]: t["template"] for t in json.loads((FIXTURES / "published_templates.json").read_text())["templates"]}
    rows = []
    for name, (special, ends) in SPECIAL.items():
        for number, (messages, tools) in enumerate(CONVERSATIONS):
            rows.append(
                {
                    "template": name,
                    "special": special,
                    "ends": ends,
                    "conversation": number,
                    "examples": examples(name, published[name], messages, tools),
                }
            )
    conversations = [{"messages": m, **({"tools": t} if t else {})} for m, t in CONVERSATIONS]
    out = {"transformers": transformers.__version__, "conversations": conversations, "rows": rows}
    path = ROOT / "meno-train/tests/fixtures/sft.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in out.pop("rows"))
    path.write_text(json.dumps(out, ensure_ascii=False)[:-1] + ', "rows": [\n' + rows + "\n]}\n")


if __name__ == "__main__":
    main()
