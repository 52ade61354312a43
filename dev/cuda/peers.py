"""Measures PyTorch, cuBLAS, transformers and TRL on this machine's GPU, with the networks and jobs of `meno bench`.

usage: python dev/cuda/peers.py [--tiny] [JOB ...]      default: all jobs; --help lists them

Prints one JSON line for each measurement. An error of a job is in its line and does not stop the others. `--tiny`
tries the script on a CPU with small networks; its figures mean nothing. Times are medians by the clock, taken after the
card has finished. Networks have random weights, so nothing is downloaded.

dev/cuda/check.sh runs this script where PyTorch is installed. Written for

    pip install torch==2.15.0 transformers==5.24.0 trl==1.16.0 datasets==5.2.0 accelerate==1.15.0

The figures recorded in check.sh are from an H100 80 GB with torch 2.11, transformers 5.17 and TRL 1.16.
"""

import argparse
import contextlib
import functools
import gc
import json
import statistics
import sys
import tempfile
import time

import torch

# Parameters that a token passes through in the DeepSeek-V3 network; the other experts do not count as work.
V3_ACTIVE = 177_000_000
ROWS_COMPARED = (1, 8, 16, 64, 128, 512, 2048)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("--tiny", action="store_true", help="small networks on the CPU")
    arguments = parser.parse_args()
    unknown = [job for job in arguments.jobs if job not in JOBS]
    if unknown:
        parser.error(f"no such job: {', '.join(unknown)}; expected {', '.join(JOBS)}")
    return arguments


def report(job, **figures):
    print(json.dumps({"job": job, **figures}), flush=True)


class Bench:
    """The device and the size of what is measured."""

    def __init__(self, tiny):
        self.tiny = tiny
        self.device = "cpu" if tiny else "cuda"

    def synchronize(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, run, repeat=5, warm_up=3):
        """Returns the median time of `run`."""
        for _ in range(warm_up):
            run()
        times = []
        for _ in range(repeat):
            self.synchronize()
            start = time.perf_counter()
            run()
            self.synchronize()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def network(self, build):
        """Builds a network on the device."""
        with torch.device(self.device):
            return build(self.tiny)

    def random(self, *shape):
        return torch.randn(*shape, device=self.device, dtype=torch.bfloat16)

    def peak_memory(self):
        """Returns the most memory that was allocated since the last `release`, in GB."""
        return round(torch.cuda.max_memory_allocated() / 1e9, 1) if self.device == "cuda" else None

    def release(self):
        """Frees what the last job left."""
        torch.compiler.reset()
        gc.collect()
        if self.device == "cuda":
            torch.cuda.init()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def qwen(tiny):
    """The shape of Qwen2.5-0.5B: `qwen2.5-0.5b` of `meno bench`."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape = {
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": True,
    }
    if tiny:
        shape |= {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128}
        shape |= {"num_hidden_layers": 2, "num_attention_heads": 4}
    return Qwen2ForCausalLM(Qwen2Config(**shape))


def deepseek_v3(tiny):
    """A DeepSeek-V3 of 672 M parameters: `V3-mid` of `meno bench`."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    shape = {
        "vocab_size": 16384,
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "moe_intermediate_size": 384,
        "num_hidden_layers": 16,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "n_shared_experts": 1,
        "n_routed_experts": 32,
        "num_experts_per_tok": 4,
        "n_group": 1,
        "topk_group": 1,
        "kv_lora_rank": 256,
        "q_lora_rank": 384,
        "qk_rope_head_dim": 32,
        "qk_nope_head_dim": 64,
        "v_head_dim": 64,
        "first_k_dense_replace": 1,
        "max_position_embeddings": 4096,
    }
    if tiny:
        shape |= {"vocab_size": 512, "hidden_size": 64, "num_hidden_layers": 2}
    model = DeepseekV3ForCausalLM(DeepseekV3Config(**shape))
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("grouped_mm")
    return model


def copy(bench, job):
    """The bandwidth of the card's memory."""
    source = torch.empty(1 << (20 if bench.tiny else 30), device=bench.device, dtype=torch.uint8)
    target = torch.empty_like(source)
    seconds = bench.seconds(lambda: target.copy_(source))
    report(job, gb_per_s=round(2 * source.numel() / seconds / 1e9))


def products(bench, job):
    """cuBLAS in bf16."""
    for m, n, k in (
        (8192, 8192, 8192),
        (16384, 4864, 896),
        (16384, 896, 4864),
        (64, 4864, 896),
        (1, 4864, 896),
    ):
        m, n = (min(m, 16), min(n, 896)) if bench.tiny else (m, n)
        x, weight = bench.random(m, k), bench.random(n, k)

        def run():
            for _ in range(20):
                torch.matmul(x, weight.T)

        seconds = bench.seconds(run, warm_up=2) / 20
        report(job, m=m, n=n, k=k, us=round(seconds * 1e6, 1), tflops=round(2 * m * n * k / seconds / 1e12, 1))


def invariance(bench, job):
    """Whether the bits of a product's rows depend on the number of rows."""
    weight, x = bench.random(4864, 896), bench.random(4096, 896)
    all_rows = x @ weight.T
    equal = {m: torch.equal(x[:m] @ weight.T, all_rows[:m]) for m in ROWS_COMPARED}
    report(job, rows_equal_those_of_4096=equal)


def flops_per_token(config, parameters, length):
    """Six for each parameter, and causal attention over half of the sequence on average."""
    head = config.hidden_size // config.num_attention_heads
    value = getattr(config, "v_head_dim", head)
    key = config.qk_nope_head_dim + config.qk_rope_head_dim if hasattr(config, "qk_nope_head_dim") else head
    return 6 * parameters + 3 * config.num_hidden_layers * config.num_attention_heads * (key + value) * length


def train(bench, job, build, active=None, compiled=False, autocast=True):
    """Training steps with AdamW. With `autocast` the weights are f32 and the products bf16, else all is bf16."""
    sequences, length = 8, 16 if bench.tiny else 2048
    model = bench.network(build).to(torch.float32 if autocast else torch.bfloat16).train()
    model.config.use_cache = False
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    forward = torch.compile(model) if compiled else model
    ids = torch.randint(model.config.vocab_size, (sequences, length), device=bench.device)

    def step():
        with torch.autocast(bench.device, torch.bfloat16, enabled=autocast):
            loss = forward(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = bench.seconds(step, warm_up=4)
    parameters = sum(p.numel() for p in model.parameters())
    flops = flops_per_token(model.config, active or parameters, length) * sequences * length
    report(
        job,
        tokens_per_s=round(sequences * length / seconds),
        step_ms=round(seconds * 1e3, 1),
        tflops=round(flops / seconds / 1e12, 1),
        memory_gb=bench.peak_memory(),
        parameters=parameters,
        sequences=sequences,
        length=length,
    )


def decode(bench, job, sequences, static):
    """transformers' `generate`. The static cache compiles the network, in the first call."""
    model = bench.network(qwen).to(torch.bfloat16).eval()
    tokens = 4 if bench.tiny else 128
    ids = torch.randint(10, model.config.vocab_size, (sequences, 64), device=bench.device)
    options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": True, "temperature": 1.0}
    options |= {"pad_token_id": 0, "eos_token_id": None}
    if static:
        options["cache_implementation"] = "static"

    def run():
        model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)

    seconds = bench.seconds(run, repeat=1, warm_up=2)
    report(job, tokens_per_s=round(sequences * tokens / seconds), sequences=sequences, tokens=tokens)


def word_tokenizer(vocab_size):
    """A tokenizer whose tokens are the words w0, w1, ...: w1 pads, w2 ends an answer."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(vocab_size)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"unk_token": "w0", "pad_token": "w1", "eos_token": "w2"}
    return PreTrainedTokenizerFast(tokenizer_object=words, padding_side="left", **special)


def grpo(bench, job, **options):
    """Steps of TRL's GRPO: 16 questions of 48 tokens, 16 answers to each, 256 tokens an answer. No vLLM."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    questions, answers, length, steps = (2, 4, 8, 3) if bench.tiny else (16, 16, 256, 4)
    batch = min(64, questions * answers)
    model = bench.network(qwen)
    vocab_size = model.config.vocab_size
    for config in (model.config, model.generation_config):
        config.pad_token_id, config.eos_token_id = 1, 2
    prompts = [" ".join(f"w{(7 * i + 3 * j) % vocab_size}" for j in range(48)) for i in range(512)]
    ends = []

    def reward(completions, **_):
        """Takes the time once a step; any value that differs between answers will do."""
        ends.append(time.perf_counter())
        return [float(hash(answer) % 7) for answer in completions]

    with tempfile.TemporaryDirectory() as out:
        config = GRPOConfig(
            output_dir=out,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=questions * answers // batch,
            num_generations=answers,
            max_completion_length=length,
            max_steps=steps,
            learning_rate=1e-6,
            beta=0.0,
            temperature=1.0,
            bf16=not bench.tiny,
            use_cpu=bench.tiny,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            **options,
        )
        data = Dataset.from_dict({"prompt": prompts})
        tokenizer = word_tokenizer(vocab_size)
        trainer = GRPOTrainer(
            model=model, processing_class=tokenizer, reward_funcs=reward, args=config, train_dataset=data
        )
        with contextlib.redirect_stdout(sys.stderr):  # only measurements go to standard output
            trainer.train()
    times = [end - start for start, end in zip(ends, ends[1:])]
    step = statistics.median(times)
    report(
        job,
        step_s=round(step, 2),
        samples_per_s=round(questions * answers / step, 1),
        steps_s=[round(seconds, 2) for seconds in times],
        answers=questions * answers,
        length=length,
    )


JOBS = {
    "copy": copy,
    "products": products,
    "invariance": invariance,
    "train-qwen-compiled": functools.partial(train, build=qwen, compiled=True),
    "train-qwen-eager": functools.partial(train, build=qwen),
    "train-qwen-bf16-compiled": functools.partial(train, build=qwen, compiled=True, autocast=False),
    "train-v3-eager": functools.partial(train, build=deepseek_v3, active=V3_ACTIVE),
    "train-v3-compiled": functools.partial(train, build=deepseek_v3, active=V3_ACTIVE, compiled=True),
    "decode-static-1": functools.partial(decode, sequences=1, static=True),
    "decode-static-64": functools.partial(decode, sequences=64, static=True),
    "decode-static-256": functools.partial(decode, sequences=256, static=True),
    "decode-dynamic-1": functools.partial(decode, sequences=1, static=False),
    "decode-dynamic-64": functools.partial(decode, sequences=64, static=False),
    "grpo": grpo,
    "grpo-continuous-batching": functools.partial(grpo, use_transformers_continuous_batching=True),
}


def main():
    arguments = parse_arguments()
    bench = Bench(arguments.tiny)
    torch.set_float32_matmul_precision("high")
    for job in arguments.jobs or JOBS:
        try:
            bench.release()
            JOBS[job](bench, job)
        except Exception as error:  # the other jobs go on
            report(job, error=repr(error)[:400])


if __name__ == "__main__":
    main()
