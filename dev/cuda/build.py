#!/usr/bin/env python3
"""Compiles the CUDA kernels and packs them into crates/meno-tensor/src/cuda/kernels/kernels.fatbins.

usage: dev/cuda/build.py [--check] [--nvcc PATH]

Without --nvcc, the pinned compiler is installed from PyPI into a throw-away environment; nothing else of CUDA is needed.
--check compiles everything but only compares: it fails with exit code 1 if the committed file is stale, and with 3 if
the compiler cannot be installed.

The pack: a line `meno kernels 1`, a line `NAME HASH LENGTH` for each source, an empty line, then the fat binaries, each
at the next multiple of 64 bytes. HASH is FNV-1a (64 bits) of the source and of all headers; cuda/kernels.rs checks it.
"""
import argparse, concurrent.futures, os, pathlib, re, subprocess, sys, tempfile, venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNELS = ROOT / "crates/meno-tensor/src/cuda/kernels"
PACK = KERNELS / "kernels.fatbins"
# ptxas 13.0.88 and 13.1.115 compile a loop of ldmatrix wrongly: use this version, or a later one that passes dev/cuda/check.sh.
PINNED = [
    "nvidia-cuda-nvcc==13.3.73",
    "nvidia-nvvm==13.3.73",
    "nvidia-cuda-crt==13.3.73",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.3.5.0.6",
]
# A100, and with it RTX 30 and RTX 40, which run code for 8.0; H100 and H200 with their own instructions; and PTX, which
# the driver compiles for later cards.
ARCHITECTURES = [
    "arch=compute_80,code=sm_80",
    "arch=compute_90a,code=sm_90a",
    "arch=compute_80,code=compute_80",
]
# The architecture of sources `*_sm90a`, whose instructions no other one has.
SM90A = "arch=compute_90a,code=sm_90a"
# What a thread of KERNEL(SOLE_384, ...) starts with: 65,536 registers over 384 threads, in multiples of 8.
SOLE_REGISTERS = "168"
# Without contraction, a sum has the same bits in every kernel that computes it in the same order.
FLAGS = ["-std=c++17", "-O3", "-fmad=false", "-fatbin", "-Xfatbin=-compress-all"]


def install(directory):
    venv.create(directory, with_pip=True)
    if subprocess.run([f"{directory}/bin/pip", "install", "--quiet", *PINNED]).returncode != 0:
        print("the compiler cannot be installed from PyPI", file=sys.stderr)
        sys.exit(3)
    return next(pathlib.Path(directory).glob("lib/python3*/site-packages/nvidia/cu13/bin/nvcc"))


def fnv(data):
    state = 0xCBF29CE484222325
    for byte in data:
        state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state


def compile_kernel(nvcc, source, out):
    architectures = [SM90A] if source.stem.endswith("_sm90a") else ARCHITECTURES
    gencode = [f"-gencode={arch}" for arch in architectures]
    environment = dict(os.environ, PATH=f"{nvcc.parent}:{os.environ['PATH']}")
    # Compiled in its directory, so that no path of this machine gets into the binary.
    command = [str(nvcc), *FLAGS, *gencode, "-Xptxas=-v", "-o", str(out), source.name]
    result = subprocess.run(command, cwd=KERNELS, env=environment, capture_output=True, text=True)
    log = result.stdout + result.stderr
    if result.returncode != 0:
        sys.exit(f"{log}{source.relative_to(ROOT)}: does not compile")
    # Warnings, and (C7510) to (C7512): wgmma waits where it should not.
    print("".join(line + "\n" for line in log.splitlines() if re.search(r"warning|\(C7", line)), end="")
    check_registers(source, log)
    return out.read_bytes()


def check_registers(source, log):
    """A kernel with reg_inc waits forever unless a block starts with all registers of a multiprocessor."""
    names = re.findall(r"^KERNEL\(SOLE_384, (\w+)\)", source.read_text(), re.MULTILINE)
    used = dict(re.findall(r"entry function '(\w+)'.*?Used (\d+) registers", log, re.DOTALL))
    for name in names:
        if used.get(name) != SOLE_REGISTERS:
            sys.exit(f"{name} starts with {used.get(name)} registers a thread, not {SOLE_REGISTERS}")


def check_names(sources):
    """Kernels of all sources are found by name, so no name may occur twice."""
    seen = {}
    for source in sources:
        for name in re.findall(r"^KERNEL\(\w+, (\w+)\)", source.read_text(), re.MULTILINE):
            if name in seen:
                sys.exit(f"kernel {name} is in {seen[name]} and in {source.name}")
            seen[name] = source.name


def pack(nvcc):
    headers = b"".join(path.read_bytes() for path in sorted(KERNELS.glob("*.cuh")))
    sources = sorted(KERNELS.glob("*.cu"))
    check_names(sources)
    with tempfile.TemporaryDirectory() as directory, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        outs = [pathlib.Path(directory) / f"{source.stem}.fatbin" for source in sources]
        images = list(pool.map(lambda pair: compile_kernel(nvcc, *pair), zip(sources, outs)))
    lines = [b"meno kernels 1"]
    for source, image in zip(sources, images):
        lines.append(f"{source.stem} {fnv(source.read_bytes() + headers):016x} {len(image)}".encode())
    packed = b"\n".join(lines) + b"\n\n"
    for image in images:
        packed += b"\0" * (-len(packed) % 64) + image
    return packed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--nvcc", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        packed = pack(arguments.nvcc or install(directory))
    if arguments.check:
        if packed != PACK.read_bytes():
            sys.exit(f"{PACK.relative_to(ROOT)} is stale: run `make cuda` and commit it")
        return print("the committed kernels are those of the sources")
    temporary = PACK.with_suffix(".tmp")
    temporary.write_bytes(packed)
    temporary.rename(PACK)
    print(f"{PACK.relative_to(ROOT)}: {len(packed) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
