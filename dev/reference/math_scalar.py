"""Golden pairs for `verify::math::scalar`, made by SymPy and mpmath.

    python dev/reference/math_scalar.py > crates/meno-eval/src/verify/math/scalar/tests/golden.txt

Each line is `=` or `!` and two expressions in the plain notation of the tests, or `~`, an expression and its first
decimals. The equal pairs are random expressions and what SymPy's transformations make of them; the different ones are
the same with a small perturbation. SymPy assumes that its symbols are positive here only where a transformation needs
it, so a pair is kept only if it holds at a few negative values too.
"""

import random

import mpmath
import sympy as sp

random.seed(1)
x, y = sp.symbols("x y", real=True)
R = sp.Rational


def number():
    return random.choice([sp.Integer(random.randint(1, 12)), R(random.randint(1, 9), random.randint(2, 9))])


def polynomial(depth=2):
    if depth == 0:
        return random.choice([x, y, number(), x, y])
    a, b = polynomial(depth - 1), polynomial(depth - 1)
    return random.choice([a + b, a - b, a * b, a**2, a * b + number()])


def rational():
    return polynomial() / (polynomial() + 13)


def trigonometric():
    f = random.choice([sp.sin, sp.cos])
    a = random.choice([x, 2 * x, 3 * x, x + y, x - y, 2 * x + y])
    return f(a) * random.choice([1, sp.cos(x), sp.sin(y), number()]) + random.choice([sp.sin(x) ** 2, sp.cos(x), number()])


def exponential():
    return sp.exp(x + number()) * random.choice([1, sp.exp(y), sp.exp(-2 * x)]) + random.choice([sp.sinh(x), sp.cosh(2 * x)])


def radical():
    q = [sp.sqrt(random.randint(2, 15)) for _ in range(2)]
    return (number() + q[0]) ** random.randint(1, 4) / (number() + q[1]) + random.choice([sp.cbrt(2), q[0] * q[1], 0])


def logarithm():
    return sum(number() * sp.log(number() + 1) for _ in range(3)) + sp.log(sp.sqrt(random.randint(2, 20)))


def angle():
    return random.choice([sp.sin, sp.cos, sp.tan])(sp.pi * R(random.randint(1, 11), random.choice([5, 8, 10, 12]))) * number()


TRANSFORMS = {
    polynomial: [sp.expand, sp.factor, sp.horner],
    rational: [sp.together, sp.apart, sp.cancel, sp.factor],
    trigonometric: [sp.expand_trig, sp.trigsimp, lambda e: e.rewrite(sp.exp), lambda e: e.rewrite(sp.tan)],
    exponential: [sp.expand, sp.powsimp, lambda e: e.rewrite(sp.exp)],
    radical: [sp.radsimp, sp.expand, sp.sqrtdenest, sp.nsimplify],
    logarithm: [sp.expand_log, lambda e: sp.logcombine(e, force=True)],
    angle: [sp.expand_func, sp.simplify, lambda e: e.rewrite(sp.sqrt)],
}


def text(e):
    # SymPy's log is the natural one.
    return str(e).replace("log(", "ln(").replace(" ", "")


def holds(a, b):
    """Whether the two agree at some points of all signs, numerically."""
    for px, py in [(0.37, 0.71), (-0.83, 0.29), (0.45, -1.31), (-2.3, -0.6)]:
        try:
            d = sp.N((a - b).subs({x: px, y: py}), 30)
            if not abs(complex(d)) < 1e-20:
                return False
        except (TypeError, ValueError, ZeroDivisionError):
            return False
    return True


def pairs():
    seen = set()
    for make, transforms in TRANSFORMS.items():
        kept = 0
        while kept < 24:
            a = make()
            if make is rational:
                args = [t for t in transforms if t is not sp.apart or len(a.free_symbols) == 1]
            else:
                args = transforms
            try:
                b = random.choice(args)(a)
            except (sp.PolynomialError, NotImplementedError, ZeroDivisionError):
                continue
            if a == b or b.has(sp.zoo, sp.nan) or len(str(b)) > 160 or not holds(a, b) or text(a) in seen:
                continue
            seen.add(text(a))
            kept += 1
            print("=", text(a), text(b))
            delta = random.choice([R(1, 10**9), R(1, 10**40), R(1, 3)])
            factor = random.choice([b + delta, b * (1 + delta)])
            print("!", text(a), text(factor))


def decimals():
    mpmath.mp.dps = 230
    for _ in range(12):
        q = R(random.randint(-4000, 4000) * 2 + 1, random.randint(1, 997))
        for name, f in [("sin", mpmath.sin), ("cos", mpmath.cos), ("exp", mpmath.exp), ("ln", mpmath.log), ("atan", mpmath.atan)]:
            z = abs(q) if name == "ln" else q
            value = f(mpmath.mpf(int(z.p)) / int(z.q))
            print("~", f"{name}({z})", mpmath.nstr(value, 200, strip_zeros=False, min_fixed=-500, max_fixed=5000))


pairs()
decimals()
