"""Writes the losses and gradients of TRL's GRPOTrainer, for crates/meno-train/src/grpo/agreement_tests.rs.

Usage: python dev/reference/grpo_loss.py          (pip install trl torch; written with TRL 1.16.0)
Written to crates/meno-train/tests/golden/grpo_loss.json.

The loss is TRL's own `_compute_loss`: the trainer is made without `__init__`, with the attributes that the method
reads, and the log-probabilities and entropies that its model would compute are random leaves of the graph. Everything
is in float64; the inputs are numbers of float32.

`settings` of a case are Meno's. They are TRL's but for these:
- cispo: TRL caps the ratio at `epsilon_high`, Meno (as MiniMax-M1 eq. 5) at 1 + `epsilon_high`;
- `steps_per_generation` counts TRL's micro-batches, Meno's optimizer steps;
- `loss_type = "gspo"` is TRL's `loss_type = "grpo"` with `importance_sampling_level = "sequence"`.
"""

import itertools
import json
from collections import defaultdict
from pathlib import Path

import torch
import trl
from accelerate import Accelerator
from trl import GRPOConfig, GRPOTrainer

FIXTURE = Path(__file__).parents[2] / "crates/meno-train/tests/golden/grpo_loss.json"

LENGTHS = [5, 12, 1, 9, 7, 12, 3, 10]
MAX_COMPLETION_LENGTH = 12
TRUNCATED = [n == MAX_COMPLETION_LENGTH for n in LENGTHS]
# Answers to a question, TRL's micro-batches of a rollout, micro-batches of an optimizer step.
LAYOUTS = {
    "one step": dict(num_generations=4, steps_per_generation=1, gradient_accumulation_steps=1),
    "two steps": dict(num_generations=2, steps_per_generation=2, gradient_accumulation_steps=1),
    "accumulated": dict(num_generations=4, steps_per_generation=2, gradient_accumulation_steps=2),
}
REWARDS = [1.0, 0.0, 0.2, 1.2, 0.5, 0.5, 1.0, 0.3]


def make_data():
    g = torch.Generator().manual_seed(11)
    f32 = lambda x: x.float().double()  # noqa: E731
    shape = (len(LENGTHS), max(LENGTHS))
    normal = lambda scale: scale * torch.randn(shape, generator=g, dtype=torch.float64)  # noqa: E731
    policy = f32(-normal(1.5).abs() - 0.05)
    # Some answers have become more probable since they were sampled, others less, by up to half a nat a token.
    drift = torch.tensor([0.3, -0.5, 0.1, -0.2, 0.5, 0.25, -0.4, -0.05], dtype=torch.float64)[:, None]
    old = f32((policy - drift - normal(0.35)).clamp(max=-0.01))
    reference = f32((policy + normal(0.4)).clamp(max=-0.01))
    entropies = f32(normal(1.0).abs())
    mask = torch.tensor([[int(t < n) for t in range(shape[1])] for n in LENGTHS])
    return policy, old, reference, entropies, mask


POLICY, OLD, REFERENCE, ENTROPIES, MASK = make_data()


def make_advantages(num_generations):
    rewards = torch.tensor(REWARDS, dtype=torch.float64).view(-1, num_generations)
    centred = rewards - rewards.mean(1, keepdim=True)
    return (centred / (rewards.std(1, keepdim=True) + 1e-4)).flatten().float().double()


def make_trainer(config):
    """A GRPOTrainer with what `_compute_loss` reads, and no model."""
    args = GRPOConfig(
        output_dir="unused",
        use_cpu=True,
        bf16=False,
        report_to=[],
        max_completion_length=MAX_COMPLETION_LENGTH,
        per_device_train_batch_size=len(LENGTHS),
        **config,
    )
    trainer = GRPOTrainer.__new__(GRPOTrainer)
    trainer.args = args
    trainer.accelerator = Accelerator(cpu=True)
    trainer.model = torch.nn.Identity().train()
    trainer.use_vllm = False
    trainer.aux_loss_enabled = False
    trainer.epsilon_low = args.epsilon
    trainer.epsilon_high = args.epsilon_high if args.epsilon_high is not None else args.epsilon
    trainer._entropy_bonus_enabled = args.entropy_coef != 0.0
    trainer.current_gradient_accumulation_steps = args.gradient_accumulation_steps
    trainer._metrics = {"train": defaultdict(list)}
    for name in (
        "beta loss_type importance_sampling_level max_completion_length off_policy_mask_threshold "
        "top_entropy_quantile entropy_coef use_adaptive_entropy vllm_importance_sampling_correction"
    ).split():
        setattr(trainer, name, getattr(args, name))
    return trainer


def compute(config, layout, mask_truncated):
    """The loss and gradients of every optimizer step of a rollout."""
    trainer = make_trainer({**config, **layout})
    mask = MASK * torch.tensor([[int(not (mask_truncated and t))] for t in TRUNCATED])
    advantages = make_advantages(layout["num_generations"])
    micro = len(LENGTHS) // layout["steps_per_generation"]
    steps = []
    for at in range(0, len(LENGTHS), micro):
        rows = slice(at, at + micro)
        logps = POLICY[rows].clone().requires_grad_()
        entropies = ENTROPIES[rows].clone().requires_grad_()
        trainer._get_per_token_logps_and_entropies = lambda *_, **__: (logps, entropies, None)
        ids = torch.zeros_like(mask[rows])
        loss = trainer._compute_loss(
            trainer.model,
            {
                "prompt_ids": ids[:, :1],
                "prompt_mask": torch.ones_like(ids[:, :1]),
                "completion_ids": ids,
                "completion_mask": mask[rows],
                "advantages": advantages[rows],
                "old_per_token_logps": OLD[rows],
                "ref_per_token_logps": REFERENCE[rows],
                "num_items_in_batch": mask.sum(),
            },
        )
        loss.backward()
        if (at // micro) % layout["gradient_accumulation_steps"] == 0:
            steps.append(dict(loss=0.0, dlogprobs=[], dentropies=[]))
        step = steps[-1]
        step["loss"] += loss.item()
        for name, leaf in (("dlogprobs", logps), ("dentropies", entropies)):
            grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            step[name] += [[number(x) for x in row[:n]] for row, n in zip(grad.tolist(), LENGTHS[rows])]
    for step in steps:
        step["loss"] = number(step["loss"])
        if not config.get("entropy_coef"):
            del step["dentropies"]
    metrics = {k: number(v[0]) for k, v in trainer._metrics["train"].items()} if len(steps) == 1 else {}
    return steps, metrics


def number(x, digits=8):
    return float(f"{x:.{digits}g}") if x else 0


def settings(config, layout, mask_truncated, gspo):
    s = {**config, **layout, "mask_truncated_completions": mask_truncated}
    s["steps_per_generation"] //= s.pop("gradient_accumulation_steps")
    if s["loss_type"] == "cispo":
        s["epsilon_high"] -= 1.0
    if gspo:
        s["loss_type"] = "gspo"
        del s["importance_sampling_level"]
    return s


def variants():
    """(TRL's configuration, layout, mask_truncated_completions)"""
    kl = [{"beta": 0.0}, {"beta": 0.04}, {"beta": 0.04, "use_bias_correction_kl": True}]
    masks = [
        {},
        {"off_policy_mask_threshold": 0.15},
        {"top_entropy_quantile": 0.2},
        {"top_entropy_quantile": 0.65, "entropy_coef": 0.02, "off_policy_mask_threshold": 0.15},
        {"entropy_coef": 0.01},
    ]
    loss_types = ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo"]
    for loss_type, level in itertools.product(loss_types, ["token", "sequence"]):
        clipped = loss_type in ("grpo", "bnpo", "dr_grpo", "dapo")
        epsilon, high = (0.2, 0.28) if level == "token" else (0.06, 0.08)
        base = {"loss_type": loss_type, "importance_sampling_level": level, "epsilon": epsilon, "epsilon_high": high}
        base |= {"cispo": {"epsilon_high": 1.0 + high}, "sapo": {"sapo_temperature_pos": 1.2}}.get(loss_type, {})
        deltas = [{}, {"delta": 1.0 + high + 0.1}] if clipped else [{}]
        for delta, k, (i, m) in itertools.product(deltas, kl, enumerate(masks)):
            config = base | delta | {"use_bias_correction_kl": False} | k | m
            if not delta or i in (0, 3):
                yield config, "one step", False
            if not delta and i in (1, 3) and k is kl[1]:
                yield config, "one step", True
        for delta, k in itertools.product(deltas, kl[::2]):
            config = base | delta | {"use_bias_correction_kl": False} | k
            yield config, "two steps", False
            if loss_type != "bnpo":  # TRL averages its micro-batches' means; Meno has no micro-batches
                yield config, "accumulated", True
    # ScaleRL's cap, and settings of the papers.
    base = {"use_bias_correction_kl": False}
    yield base | {"loss_type": "cispo", "epsilon_high": 5.0}, "one step", False
    yield base | {"loss_type": "sapo"}, "one step", False
    gspo = {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4}
    yield base | gspo, "one step", False
    yield base | {"loss_type": "dapo", "top_entropy_quantile": 0.0}, "one step", False


def main():
    cases = []
    for config, layout, truncated in variants():
        steps, metrics = compute(config, LAYOUTS[layout], truncated)
        sequence = config["loss_type"] == "grpo" and config.get("importance_sampling_level") == "sequence"
        for gspo in (False, True) if sequence and "delta" not in config else (False,):
            s = settings(config, LAYOUTS[layout], truncated, gspo)
            cases.append({"settings": s, "steps": steps, "metrics": {} if truncated else metrics})
    rows = lambda x: [[number(v, 9) for v in row[:n]] for row, n in zip(x.tolist(), LENGTHS)]  # noqa: E731
    data = {
        "trl": trl.__version__,
        "max_completion_length": MAX_COMPLETION_LENGTH,
        "logprobs": rows(POLICY),
        "old_logprobs": rows(OLD),
        "ref_logprobs": rows(REFERENCE),
        "entropies": rows(ENTROPIES),
        "truncated": TRUNCATED,
        "advantages": {str(g): [number(a, 9) for a in make_advantages(g).tolist()] for g in (2, 4)},
    }
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    head = json.dumps(data, separators=(",", ":"))[:-1]
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    FIXTURE.write_text(f'{head},"cases":[\n{lines}\n]}}\n')
    print(f"{len(cases)} cases, {FIXTURE.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
