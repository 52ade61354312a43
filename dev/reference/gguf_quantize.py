"""Golden files for quantization: what ggml's own code and the `gguf` package make of the same values.

    python dev/reference/gguf_quantize.py LIBGGML_BASE   # writes crates/meno-model/tests/golden/gguf/quantize.safetensors

LIBGGML_BASE is ggml's base library, shared: `libggml-base.so` of a llama.cpp build with BUILD_SHARED_LIBS, built
without fused multiply-adds (as it is by default on x86-64), as the reference is.

`values` are 2 rows of 1024 with what quantizers trip over (zeros, one value, outliers, tiny and huge values, ties);
`TYPE` holds the bytes of `ggml_quantize_chunk` without importance matrix.
"""

import ctypes
import pathlib
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).parents[2] / "crates/meno-model/tests/golden/gguf"
TYPES = [Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K, Q.IQ4_NL,
         Q.IQ4_XS, Q.MXFP4]
# The types that the package quantizes itself.
PACKAGE = [Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0]


def values():
    rng = np.random.default_rng(11)
    x = rng.standard_normal((2, 1024)).astype(np.float32) * 0.05
    x[0, 256:512] = rng.standard_t(2, 256).astype(np.float32)  # outliers
    x[0, 512:544] = 0
    x[0, 544:576] = 0.25
    x[0, 576:608] = np.abs(x[0, 576:608])
    x[0, 608:640] = -np.abs(x[0, 608:640])
    x[0, 640:656] = 0
    x[0, 700] = 30.0
    x[0, 768:1024] = 0
    x[1, :256] *= 1e-6
    x[1, 256:512] *= 1e4
    x[1, 512:768] = np.round(x[1, 512:768] * 40) / 8  # many ties
    x[1, 768] = -0.0
    return x


def main(library):
    base = ctypes.CDLL(library)
    base.ggml_quantize_init.restype = None
    base.ggml_quantize_chunk.restype = ctypes.c_size_t
    x = values()
    golden = {"values": x}
    for q in TYPES:
        elements, size = gguf.GGML_QUANT_SIZES[q]
        out = np.zeros((2, 1024 // elements * size), np.uint8)
        base.ggml_quantize_init(ctypes.c_int(q))
        n = base.ggml_quantize_chunk(ctypes.c_int(q), x.ctypes.data_as(ctypes.c_void_p),
                                     out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(0), ctypes.c_int64(2),
                                     ctypes.c_int64(1024), None)
        assert n == out.size, (q, n, out.size)
        golden[q.name] = out
        if q in PACKAGE:
            own = gguf.quants.quantize(x, q).reshape(out.shape)
            print(q.name, "package and library differ in", int((own != out).sum()), "bytes")
    OUT.mkdir(parents=True, exist_ok=True)
    save_file(golden, OUT / "quantize.safetensors")


if __name__ == "__main__":
    main(sys.argv[1])
