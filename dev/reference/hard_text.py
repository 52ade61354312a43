"""Text on which tokenizers go wrong."""

TEXTS = [
    "",
    " ",
    "Hello, world!",
    "  two  spaces   three    four",
    "tabs\t\tand\nnewlines\r\n\r\n  \n\n   indented\n",
    "trailing spaces   ",
    "\n",
    " \n \n",
    "\u00a0no\u2003break\u3000spaces\u200b zero\u200dwidth \ufeffbom",
    "1 12 123 1234 12345 3.14159 1,000,000 0x1F 1e-10 ½ Ⅷ ٣٤٥ ४५ 𝟗𝟘",
    "I'm you're WE'LL they'VE it'S don'T 'twas ' s'",
    "fn main() {\n    println!(\"{:>8.3}\", x[i] as f64 / 2.0); // ok\n}\n",
    "def f(x):\n\treturn {k: v for k, v in x.items() if v != None}\n\n\nclass A(B): pass",
    "<div class=\"a\">&amp;</div> <!-- c --> $\\frac{a}{b} \\le \\sum_{i=1}^{n} x_i^2$",
    "日本語の文章です。漢字とカタカナとひらがな、そして句読点！？",
    "中文测试：今天天气很好，我们去公园吧。“引号”《书名》——破折号……",
    "한국어 텍스트입니다. 안녕하세요? ㄱㄴㄷ",
    "mixed中文and日本語withEnglish123数字456",
    "Привет, мир! Ёжик. Ελληνικά ᾳ ΐ. עברית العربية हिन्दी ไทย",
    "e\u0301 vs é, A\u030a vs Å, \ufb01 ligature, ﷺ, Z̷̢a̶l̸g̵o̴",
    "😀😃 👨‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪🇯🇵 ❤️ ☃ 𓀀 𝔘𝔫𝔦",
    "!!! ??? ... --- *** ### $$$ %%% @@@ ^^^ &&& === +++ ~~~ ```",
    "a_b_c camelCase PascalCase snake_case SCREAMING_CASE kebab-case dot.ted/path\\back",
    "https://example.com/a?b=c&d=%20e#f user@example.org",
    "{\"key\": [1, 2.5, null, true], \"ключ\": \"値\"}",
    "<think>\nWait, 3*(4+5) = 27.\n</think>\n\n<answer>27</answer>",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    "<｜begin▁of▁sentence｜><｜User｜>hi<｜Assistant｜>ok<｜end▁of▁sentence｜>",
    "<|endoftext|> <|fim_prefix|>x<|fim_suffix|>y <tool_call>{}</tool_call> [PAD151700] <|im_end",
    "\x00\x01\x1b[31m\x7f control",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    " " * 70 + "x" + "\n" * 9 + "\t" * 5,
    "«Ça»,—‹où›…„ü“ ‘’ ¿qué? ¡olé! №5 §7 ©®™ €£¥ ±×÷ ≠≤≥ →⇒ ①②",
    "İstanbul ǅ ß ẞ ſ K Å µ μ",
]


def main_texts():
    """Long combinations besides, so that boundaries between the kinds are seen."""
    return TEXTS + ["".join(TEXTS), "\n".join(reversed(TEXTS)), " ".join(t.strip() for t in TEXTS)]
