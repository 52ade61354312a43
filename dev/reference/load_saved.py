"""Does transformers load what Meno saves, and compute the same?

    cargo test -p meno-model --test files -- --ignored keep_saved_models     # writes target/saved/*
    python dev/reference/load_saved.py target/saved

For every directory: no tensor missing or unexpected, and max |Δlogit| against the logits that Meno wrote beside it.
"""

import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

for where in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    model, info = AutoModelForCausalLM.from_pretrained(
        where, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    ours = load_file(where / "expected" / "logits.safetensors")
    with torch.no_grad():
        theirs = model(ours["tokens"].long()[None]).logits[0]
    problems = {k: sorted(v) for k, v in info.items() if v}
    print(where.name, f"max |Δlogit| {(theirs - ours['logits']).abs().max():.1e}", problems or "every tensor used")
