// Suggestions for a first question that suit the model.

const THINKING = [
  ["Double a square", "A square has a side of 2. How long is the side of a square with twice its area? Think it through."],
  ["Count something", "How many of the numbers from 1 to 1000 are divisible by 3 or by 5, but not by both?"],
  ["Prove it", "Prove that the square root of 2 is irrational."],
  ["Find the flaw", "Let a = b. Then a² = ab, so a² − b² = ab − b², so a + b = b, so 2 = 1. Where is the mistake?"],
];

const CODE = [
  ["Write a function", "Write a function in Rust that returns the n-th Fibonacci number in O(log n), with a test."],
  ["Explain code", "What does this do?\n\n```python\nprint(*map(lambda r: sum(r) / len(r), zip(*rows)))\n```"],
  ["Find the bug", "Why does this never end?\n\n```c\nfor (unsigned i = 10; i >= 0; i--) printf(\"%u\\n\", i);\n```"],
  ["Query a table", "Write an SQL query for the three customers with the highest total of orders in 2024."],
];

const GENERAL = [
  ["Explain an idea", "Explain in a few sentences why the sky is blue."],
  ["Write something", "Write a short, friendly message that moves a meeting from Monday to Tuesday."],
  ["Compare", "Compare tea and coffee in a table: origin, caffeine, preparation."],
  ["Plan a day", "Suggest a plan for a day in Athens, as a list with times."],
];

/** `[name, question]` pairs. A model trained for a few tasks brings its own examples, without names. */
export function suggestions(model) {
  if (!model) return [];
  if (model.examples.length > 0) return model.examples.slice(0, 4).map((example) => [null, example]);
  if (model.thinks) return THINKING;
  return /cod(?:er?|ing)\b|starcoder|codestral|devstral/i.test(model.id) ? CODE : GENERAL;
}
