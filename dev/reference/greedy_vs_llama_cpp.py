"""Logits and greedy text of the real Qwen2.5-Coder-0.5B (GGUF Q4_K_M): Meno, transformers, llama.cpp.

    python dev/reference/greedy_vs_llama_cpp.py --meno target/release/meno --model FILE.gguf \\
        --llama LLAMA_GREEDY [--f32] [--precision auto] [--tokens 64]

How the comparison is made. Meno dequantizes the file to f32 and computes in f32 (`--precision auto`: on the blocks, as
llama.cpp). llama.cpp multiplies the blocks as they are by activations that it rounds to 8 bits per block (Q8_0, Q8_K),
so its logits differ from the exact ones by tenths, and its greedy text must part from the exact text where the two best
tokens are closer than that. Hence:

1. logits: `meno logits` against transformers on the same dequantized weights; both are exact f32.
2. greedy text: ten chats, token by token. Where the texts part, the step is reported with the gap between the two best
   logits in llama.cpp; the parting is a *near-tie* if that gap is below the noise that llama.cpp's rounding makes,
   measured as the largest difference between its gap and the exact one over the shared steps, and if both programs
   have the same two candidates.
3. `--f32`: the same with llama.cpp reading the dequantized weights (a GGUF file of F32 tensors, written to a temporary
   directory): no rounding is left, so parting needs a gap of about 1e-3.

LLAMA_GREEDY is `llama_greedy.cpp`, compiled as it says, or a .jsonl file that it wrote. `--write-f32 FILE` only writes
the file of F32 tensors, `--write-prompts` only prints the prompts' ids.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
PROMPTS = [
    "What is 17 * 23? Think step by step.",
    "Write a Python function that reverses a linked list.",
    "Explain in two sentences why the sky is blue.",
    "用中文解释什么是快速排序。",
    "Write a Rust function that returns the n-th Fibonacci number.",
    "List five prime numbers greater than 50.",
    "Translate to French: The weather is nice today and we are going to the park.",
    "SQL: select the three customers with the highest total order value.",
    "Using the numbers 3, 7, 25 make an equation that equals 46.",
    "What does `git rebase -i HEAD~3` do?",
]
CHAT = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)


def run(command, **kwargs):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, **kwargs).stdout


def logits(meno, model_path, model, ids):
    """Largest |difference| of the logits, and how often the best token is the same."""
    import torch
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as tmp:
        out = pathlib.Path(tmp) / "logits.safetensors"
        run([meno, "logits", "-m", model_path, "--tokens", ",".join(map(str, ids)), "--precision", "f32", "--out", out])
        ours = load_file(out)["logits"]
    with torch.no_grad():
        theirs = model(torch.tensor([ids])).logits[0]
    same = (ours.argmax(-1) == theirs.argmax(-1)).float().mean().item()
    return (ours - theirs).abs().max().item(), theirs.abs().max().item(), same


def llama(binary, model, prompts, n, threads):
    if str(binary).endswith(".jsonl"):
        lines = pathlib.Path(binary).read_bytes()
    else:
        text = "".join(" ".join(map(str, p)) + "\n" for p in prompts)
        lines = run([binary, model, n, threads], input=text.encode())
    return [json.loads(line) for line in lines.decode().splitlines()]


def exact_top2(model, ids, n):
    """The exact best tokens of the last n + 1 positions, with their logits."""
    import torch

    with torch.no_grad():
        rows = model(torch.tensor([ids])).logits[0, -n - 1 :]
    values, tokens = rows.topk(2, -1)
    return [[t[0], v[0], t[1], v[1]] for t, v in zip(tokens.tolist(), values.tolist())]


def write_f32(src, dst):
    """The same file with every tensor as F32."""
    import gguf
    from gguf.quants import dequantize

    reader = gguf.GGUFReader(src)
    w = gguf.GGUFWriter(dst, "qwen2")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name not in ("general.architecture", "general.file_type"):
            kind = field.types[0]
            w.add_key_value(field.name, field.contents(), kind, sub_type=field.types[-1] if len(field.types) > 1 else None)
    for t in reader.tensors:
        w.add_tensor(t.name, dequantize(t.data, t.tensor_type).astype("float32"))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--meno", default="target/release/meno")
    p.add_argument("--model", required=True)
    p.add_argument("--llama", nargs="*", default=[])
    p.add_argument("--no-logits", action="store_true")
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--precision", default="f32", help="of Meno's text: f32, or auto for the blocks as they are")
    p.add_argument("--f32", action="store_true")
    p.add_argument("--write-f32")
    p.add_argument("--write-prompts", action="store_true")
    args = p.parse_args()
    if args.write_f32:
        return write_f32(args.model, args.write_f32)
    from qwen_gguf import load

    model, tokenizer, _ = load(args.model)
    prompts = [tokenizer.encode(CHAT.format(q)).ids for q in PROMPTS]
    if args.write_prompts:
        return print("\n".join(" ".join(map(str, ids)) for ids in prompts))
    for q, ids in list(zip(PROMPTS, prompts))[: 0 if args.no_logits else 4]:
        gap, scale, same = logits(args.meno, args.model, model, ids)
        print(f"logits {len(ids):3} tokens: max |diff| {gap:.2e} of {scale:.1f}, same best {same:.3f}   {q[:40]}", flush=True)
    if not args.llama:
        return

    ours = []
    for q, ids in zip(PROMPTS, prompts):
        out = json.loads(
            run([args.meno, "generate", "-m", args.model, "--prompt", CHAT.format(q), "--raw", "--json"]
                + ["--temperature", "0", "--max-tokens", args.tokens, "--precision", args.precision])
        )
        ours.append(out["tokens"])
    for binary in args.llama:
        with tempfile.TemporaryDirectory() as tmp:
            path = args.model
            if args.f32 and not binary.endswith(".jsonl"):
                path = pathlib.Path(tmp) / "f32.gguf"
                write_f32(args.model, path)
            theirs = llama(binary, path, prompts, args.tokens, args.threads)
        print(f"# {binary}")
        equal = sum(compare(model, tokenizer, *four) for four in zip(PROMPTS, prompts, ours, theirs))
        print(f"{equal} of {len(theirs)} equal up to the end or the first near-tie", flush=True)


def compare(model, tokenizer, question, prompt, ours, rows):
    """Prints how far the two agree; whether they do up to the end or a near-tie."""
    theirs = [r[0] for r in rows]
    pairs = list(zip(ours, theirs))
    n = next((i for i, (x, y) in enumerate(pairs) if x != y), len(pairs))
    exact = exact_top2(model, prompt + theirs[:n], min(n, len(rows) - 1))
    noise = max(
        (abs((e[1] - e[3]) - (r[1] - r[3])) for e, r in zip(exact, rows) if (e[0], e[2]) == (r[0], r[2])), default=0.0
    )
    if n == len(pairs):
        print(f"equal    {n:3} tokens, noise {noise:.4f}   {question[:50]}")
        return True
    gap, exact_gap = rows[n][1] - rows[n][3], exact[n][1] - exact[n][3]
    candidates = {ours[n], theirs[n]}
    tie = candidates == {rows[n][0], rows[n][2]} == {exact[n][0], exact[n][2]} and gap <= 1.5 * max(noise, 1e-3)
    words = f"{tokenizer.id_to_token(ours[n])!r} and {tokenizer.id_to_token(theirs[n])!r}"
    print(
        f"{'near-tie' if tie else 'DIFFERS '} {n:3} tokens, then {words}: gap {gap:.4f} in llama.cpp, {exact_gap:.4f} "
        f"exact, noise {noise:.4f}   {question[:50]}"
    )
    return tie


if __name__ == "__main__":
    main()
