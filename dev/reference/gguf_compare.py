"""Compares two GGUF files: metadata, and the tensors' types and bytes.

    python dev/reference/gguf_compare.py OURS THEIRS

To hold `meno quantize` against llama.cpp, from one F16 file (MODEL is any checkpoint):

    meno convert MODEL f16.gguf --type f16
    meno quantize f16.gguf --type q4_k_m --out ours.gguf
    llama-quantize f16.gguf theirs.gguf Q4_K_M
    python dev/reference/gguf_compare.py ours.gguf theirs.gguf

and `meno convert DIR ours.gguf --type bf16` against `convert_hf_to_gguf.py DIR --outtype bf16 --outfile theirs.gguf`.
"""

import sys

from gguf import GGUFReader


def value(field):
    return field.contents() if field else None


if __name__ == "__main__":
    ours, theirs = (GGUFReader(path) for path in sys.argv[1:3])
    keys = [k for k in {**ours.fields, **theirs.fields} if not k.startswith("GGUF.")]
    for key in keys:
        a, b = value(ours.fields.get(key)), value(theirs.fields.get(key))
        if a != b:
            print(f"{key}: {str(a)[:60]} | {str(b)[:60]}")
    a, b = ({t.name: t for t in file.tensors} for file in (ours, theirs))
    print("only ours:", sorted(a.keys() - b.keys()), "only theirs:", sorted(b.keys() - a.keys()))
    same = types = differing = size = 0
    for name in a.keys() & b.keys():
        x, y = a[name], b[name]
        if x.tensor_type != y.tensor_type or list(x.shape) != list(y.shape):
            print(f"{name}: {x.tensor_type.name} {list(x.shape)} | {y.tensor_type.name} {list(y.shape)}")
            types += 1
            continue
        n = int((x.data.view("uint8") != y.data.view("uint8")).sum())
        same += n == 0
        differing += n
        size += y.data.nbytes
        if n:
            print(f"{name}: {n} of {y.data.nbytes} bytes differ")
    print(f"{same} tensors equal, {types} of another type or shape, {differing} of {size} bytes differ")
