//! Results that are objects of the program: honest ones, and ones that imitate the right answer.

use super::table;
use serde_json::json;

#[test]
fn tests_may_use_objects_of_the_program() {
    let pairs = json!({"text": "longest chain", "test_list": [
        "assert longest([Pair(5, 24), Pair(15, 25), Pair(27, 40)]) == 2",
        "p = Pair(1, 2)\np.a = 7\nassert p.a == 7 and isinstance(p, Pair) and str(p) == 'P'"]});
    let class = "class Pair:\n    def __init__(s, a, b): s.a, s.b = a, b\n    def __str__(s): return 'P'\n";
    let longest = "def longest(ps):\n    n, end = 0, -1\n    for p in sorted(ps, key=lambda p: p.b):\n        \
                   if p.a > end: n, end = n + 1, p.b\n    return n";
    table(
        &pairs,
        &[
            (&format!("{class}{longest}"), true, "the tests create and read its objects"),
            (&format!("{class}def longest(ps): return len(ps)"), false, "the objects exist, the number is wrong"),
        ],
    );
    let tree = json!({"text": "height",
        "test_setup_code": "root = Node(1)\r\nroot.left = Node(2)\r\nroot.left.right = Node(4)",
        "test_list": ["assert (height(root)) == 3"]});
    let node = "class Node:\n    def __init__(s, x): s.x, s.left, s.right = x, None, None\n";
    table(
        &tree,
        &[
            (
                &format!("{node}def height(n): return 1 + max(height(n.left), height(n.right)) if n else 0"),
                true,
                "the setup builds a tree from its nodes",
            ),
            (&format!("{node}def height(n): return 2"), false, "the tree exists, the height is wrong"),
        ],
    );
    let sum = json!({"text": "sum of common divisors",
                     "test_list": ["assert sum(10, 15) == 6", "assert sum(100, 150) == 93"]});
    table(
        &sum,
        &[
            (
                "def sum(a, b): return __import__('builtins').sum(d for d in range(1, min(a, b)) \
                 if a % d == b % d == 0)",
                true,
                "the problem requires a function with the name of a built-in",
            ),
            ("def sum(a, b): return 6", false, "another number"),
        ],
    );
    let lazy = json!({"text": "evens", "test_list": [
        "assert list(evens(5)) == [0, 2, 4]", "assert 3 not in evens(5)", "assert sum(evens(5)) == 6"]});
    table(
        &lazy,
        &[
            ("def evens(n):\n    yield from range(0, n, 2)", true, "a generator"),
            ("def evens(n): return filter(lambda x: x % 2 == 0, range(n))", true, "an iterator"),
            (
                "class E:\n    __iter__ = lambda s: iter([0, 2, 4])\n    __contains__ = lambda s, x: False\n\
                 def evens(n): return E()",
                true,
                "an iterable",
            ),
            (
                "class E:\n    __iter__ = lambda s: iter([0, 3])\n    __contains__ = lambda s, x: x != 3\n\
                 def evens(n): return E()",
                false,
                "`in` checks the actual items",
            ),
        ],
    );
    let place = json!({"text": "sort in place", "test_list": [
        "xs = [3, 1, 2]\nput_in_order(xs)\nassert xs == [1, 2, 3]",
        "xs = [3, 1]\nassert (put_in_order(xs) or xs) == sorted([3, 1])"]});
    table(
        &place,
        &[
            ("def put_in_order(xs): xs.sort()", true, "changes its argument"),
            ("def put_in_order(xs): return sorted(xs)", false, "does not change its argument"),
        ],
    );
    let calls = json!({"text": "apply", "test_list": [
        "assert twice(lambda x: x + 1, 5) == 7",
        "try:\n    twice(None, 5)\n    assert False\nexcept TypeError:\n    pass"]});
    table(
        &calls,
        &[
            ("def twice(f, x): return f(f(x))", true, "calls a function of the tests; raises what they expect"),
            ("def twice(f, x): return 7", false, "raises nothing"),
        ],
    );
}

#[test]
fn objects_cannot_imitate_methods_of_data() {
    let text = json!({"text": "digits", "test_list": [
        "assert f(1).isdigit()", "assert f(2).startswith('2')", "assert 'x{}'.format(f(3)).endswith('3')"]});
    let class =
        "class L:\n    isdigit = lambda s: True\n    startswith = lambda s, x: True\n    __str__ = lambda s: '3'\n";
    let known = "class L(str):\n    isdigit = startswith = lambda *a: True\n";
    table(
        &text,
        &[
            ("def f(x): return str(x)", true, "text has these methods"),
            ("class T(str): pass\ndef f(x): return T(x)", true, "a kind of text is text"),
            (&format!("{class}def f(x): return L()"), false, "answers yes to every string predicate"),
            (&format!("{class}class f(L):\n    def __init__(s, x): pass"), false, "a class in place of the function"),
            (&format!("{class}f = lambda x: L()\nL.__call__ = f"), false, "an object in place of the function"),
            (&format!("{known}def f(x): return L('no')"), false, "a kind of text with false methods"),
            (
                "class M(type):\n    __getattr__ = lambda c, n: lambda *a: True\nclass L(metaclass=M): pass\n\
                 def f(x): return L",
                false,
                "a class that answers to every name",
            ),
            ("def f(x): return f\nf.isdigit = f.startswith = lambda *a: True", false, "a function with string methods"),
        ],
    );
    let sets = json!({"text": "subset",
                      "test_list": ["assert f([2, 1]).issubset({1, 2, 3})", "assert f([5])[0].issubset({5})"]});
    let class = "class L:\n    issubset = lambda s, o: True\n";
    table(
        &sets,
        &[
            (&format!("{class}def f(xs): return L()"), false, "answers yes to every set predicate"),
            (&format!("{class}L.__getitem__ = lambda s, i: s\ndef f(xs): return L()"), false, "and its items do"),
            (&format!("{class}def f(xs): return [L()] if xs == [5] else set(xs)"), false, "within genuine data too"),
            (
                "class S(set):\n    __getitem__ = lambda s, i: {5}\ndef f(xs): return [{5}] if xs == [5] else S(xs)",
                true,
                "a kind of set is a set",
            ),
        ],
    );
    let one = json!({"text": "subset", "test_list": ["assert f([2, 1]).issubset({1, 2, 3})"]});
    table(&one, &[("def f(xs): return set(xs)", true, "a set")]);
    // Data classes that the tests mention are not classes of the program.
    let close = json!({"text": "close", "test_list": [
        "from fractions import Fraction\nassert not isinstance(f(1), str) and f(1).is_close(Fraction(1, 3))"]});
    table(
        &close,
        &[("class L:\n    is_close = lambda s, o: True\ndef f(x): return L()", false, "says yes to a predicate")],
    );
    // A class that the tests are about does not allow other objects.
    let solution = json!({"text": "digits", "test_list": ["assert Solution().f(1).isdigit()"]});
    let liar = "class Solution:\n    isdigit = lambda s: True\n";
    table(
        &solution,
        &[
            ("class Solution:\n    def f(self, x): return str(x)", true, "a method that returns text"),
            (&format!("{liar}    def f(self, x): return self"), false, "returns itself, with a method of text"),
            (&format!("{liar}    def f(self, x): return Solution"), false, "returns its class"),
        ],
    );
}

#[test]
fn an_object_must_answer_consistently() {
    let length = json!({"text": "positive numbers", "test_list": [
        "r = f(3)\nassert len(r) == 3\nassert all(x > 0 for x in r)",
        "r = f(2)\nassert r\nassert set(r) <= {1, 2}",
        "r = f(2)\nassert min(r) == 1\nassert sum(r) == 3"]});
    let class = "class L:\n    def __init__(s, n): s.n = n\n";
    let honest = "    __len__ = lambda s: s.n\n    __iter__ = lambda s: iter(range(1, s.n + 1))\n";
    table(
        &length,
        &[
            ("def f(n): return list(range(1, n + 1))", true, "a list"),
            (&format!("{class}{honest}def f(n): return L(n)"), true, "a custom collection"),
            (
                &format!("{class}{honest}    __iter__ = lambda s: iter(())\ndef f(n): return L(n)"),
                false,
                "claims to have items but has none",
            ),
            (
                &format!("{class}{honest}    __bool__ = lambda s: False\ndef f(n): return L(n)"),
                false,
                "has items but is false",
            ),
            (
                &format!(
                    "{class}{honest}    def __iter__(s):\n        s.k = getattr(s, 'k', -1) + 1\n        \
                     return iter([[1, 2], [3, 0]][s.k % 2])\ndef f(n): return L(n)"
                ),
                false,
                "has different items each time",
            ),
        ],
    );
    let class = "class Stack:\n    def __init__(s): s.xs = []\n    def push(s, x): s.xs.append(x)\n    \
                 def __len__(s): return len(s.xs)\n";
    let stack = json!({"text": "a stack", "test_list": [
        "s = Stack()\nassert not s\ns.push(1)\ns.push(2)\nassert len(s) == 2 and s.pop() == 2 and list(s) == [1]"]});
    table(
        &stack,
        &[
            (
                &format!("{class}    def pop(s): return s.xs.pop()\n    def __iter__(s): return iter(s.xs)"),
                true,
                "the tests are about the class, so its objects may answer",
            ),
            (
                &format!("{class}    def pop(s): return 0\n    def __iter__(s): return iter(s.xs)"),
                false,
                "returns another number",
            ),
        ],
    );
    let nodes = json!({"text": "merge", "test_setup_code":
        "class Node:\n    def __init__(self, val, next=None):\n        self.val, self.next = val, next\n",
        "test_list": ["h = merge(Node(2), Node(1))\nassert h.val == 1 and h.next.val == 2 and h.next.next is None"]});
    let merge = "def merge(a, b):\n    a, b = sorted([a, b], key=lambda n: n.val)\n    a.next = b\n    return a";
    table(
        &nodes,
        &[
            (merge, true, "objects of a class that the tests know are read"),
            ("def merge(a, b): return a", false, "the wrong one"),
        ],
    );
    let asked = json!({"text": "merge", "test_setup_code": nodes["test_setup_code"],
        "test_list": ["assert merge(Node(2), Node(1)).isdigit()"]});
    table(
        &asked,
        &[(
            "class L:\n    isdigit = lambda s: True\ndef merge(a, b): return L()",
            false,
            "a class that the tests know has no string methods",
        )],
    );
}
