"""lm-evaluation-harness' `local-completions` against a running `meno serve`: `python dev/serving/harness.py URL MODEL`.

A task of two lines is made here, of log-likelihoods (multiple choice), and one of a text to be generated. The harness gets
only the URL: it finds the tokenizer by `/tokenizer_info`, `/tokenize` and `/detokenize`.
"""

import json
import pathlib
import sys
import tempfile

import lm_eval
from lm_eval.tasks import TaskManager

url, model = sys.argv[1:3]
QUESTIONS = [
    {"question": "The capital of France is", "choices": ["Paris", "purple", "seventeen"], "label": 0},
    {"question": "def add(a, b):\n    return", "choices": ["import", "a + b", "class"], "label": 1},
    {"question": "One, two, three, four,", "choices": ["apple", "river", "five"], "label": 2},
]


def row(feature, check):
    try:
        found, ok = check()
        print(json.dumps({"client": "lm-eval", "feature": feature, "ok": ok, "why": str(found)}))
    except Exception as error:  # a cell of the table
        print(json.dumps({"client": "lm-eval", "feature": feature, "ok": False, "why": repr(error)[:300]}))


def run(directory, name, batch):
    args = f"model={model},base_url={url}/v1/completions,num_concurrent=2,max_retries=1"
    manager = TaskManager(include_path=str(directory))
    return lm_eval.simple_evaluate("local-completions", model_args=args, tasks=[name], batch_size=batch,
                                   task_manager=manager, bootstrap_iters=0, log_samples=True)["results"][name]


with tempfile.TemporaryDirectory() as name:
    directory = pathlib.Path(name)
    (directory / "rows.jsonl").write_text("".join(json.dumps(q) + "\n" for q in QUESTIONS))
    data = f"dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {directory}/rows.jsonl\ntest_split: test\n"
    (directory / "choice.yaml").write_text(
        f"task: tiny_choice\n{data}output_type: multiple_choice\ndoc_to_text: '{{{{question}}}}'\n"
        "doc_to_target: label\ndoc_to_choice: choices\nmetric_list:\n  - metric: acc\n")
    (directory / "said.yaml").write_text(
        f"task: tiny_said\n{data}output_type: generate_until\ndoc_to_text: '{{{{question}}}}'\n"
        "doc_to_target: '{{choices[label]}}'\ngeneration_kwargs:\n  until: ['\\n']\n  max_gen_toks: 8\n"
        "metric_list:\n  - metric: exact_match\n")

    def choice(batch):
        accuracy = run(directory, "tiny_choice", batch)["acc,none"]
        return accuracy, accuracy == 1.0

    row("prompt log-probabilities", lambda: choice(1))
    row("prompt log-probabilities, in batches", lambda: choice(4))
    row("completions", lambda: (run(directory, "tiny_said", 1), True))
