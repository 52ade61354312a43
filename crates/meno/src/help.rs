//! The parts of `--help` and `--version` beyond the arguments: examples for every command, exit codes, build
//! information.

use clap::Command;
use meno_tensor::cpu::simd::{Level, level};

/// The meaning of the exit codes, at the end of every command's help.
const EXIT_CODES: &str = "Exit codes: 0 success, 1 an error in the command, its files or the system (message on \
                          standard error), 2 a bug in meno, 130 interrupted by Ctrl-C.";

/// A command line and its description.
type Example = (&'static str, &'static str);

/// Examples for every command, by its name; a subcommand has both names.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "replicate",
        &[
            ("meno replicate", "all stages in minutes; the report is runs/replicate-seed1/report.html"),
            ("meno replicate --preset smoke --out runs/smoke", "all stages in seconds, to check that it works"),
            ("meno replicate --seed 2 --threads 4", "another seed, on four cores"),
        ],
    ),
    (
        "chat",
        &[
            ("meno chat -m Qwen/Qwen3-0.6B-GGUF:Q8_0", "a model of the Hugging Face hub, fetched once"),
            ("meno chat path/to/model.gguf --context 16k", "a local GGUF file with a longer context"),
            ("meno chat -m runs/replicate-seed1/r1", "the result of `meno replicate`"),
            ("meno chat -m path/to/model -p 'Is 221 prime?'", "one question, then exit"),
            ("git diff | meno chat path/to/model -p 'Review this:'", "the prompt, then the piped input"),
            ("meno chat --url http://127.0.0.1:8000", "a running `meno serve`"),
        ],
    ),
    (
        "pull",
        &[
            ("meno pull deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "the safetensors checkpoint"),
            ("meno pull Qwen/Qwen3-0.6B-GGUF:Q8_0", "one GGUF file of it"),
        ],
    ),
    (
        "serve",
        &[
            ("meno serve -m Qwen/Qwen3-0.6B-GGUF:Q8_0", "page at http://127.0.0.1:8000, API at /v1"),
            ("meno serve path/to/model.gguf --parallel 4 --context 8k", "four concurrent sequences of 8192 tokens"),
            ("meno serve -m path/to/model --host 0.0.0.0 --api-key SECRET", "for other machines, with a key"),
        ],
    ),
    (
        "generate",
        &[
            ("meno generate -m path/to/model.gguf -p 'What is 12 * 13?'", "one answer"),
            ("meno generate path/to/model -p 'Once upon' --raw --max-tokens 64", "complete a text"),
            ("meno generate -m ORG/NAME -p - -n 4 --json", "four answers as JSON to a prompt from standard input"),
        ],
    ),
    (
        "pretrain",
        &[
            ("meno pretrain path/to/recipe.toml", "train the recipe's model"),
            ("meno pretrain path/to/recipe.toml --dry-run", "show every setting and the memory needed"),
            ("meno pretrain path/to/recipe.toml --resume", "continue after an interruption"),
        ],
    ),
    (
        "sft",
        &[
            ("meno sft path/to/recipe.toml -m ORG/NAME", "fine-tune a model of the hub"),
            (
                "meno sft path/to/recipe.toml --set train.learning_rate=1e-5 -o runs/sft",
                "change a setting and the output",
            ),
            ("meno sft path/to/recipe.toml --dry-run", "check data and memory without training"),
        ],
    ),
    (
        "grpo",
        &[
            ("meno grpo recipes/countdown-qwen0.5b.toml -m path/to/qwen2.5-0.5b-instruct.gguf", "teach countdown"),
            ("meno grpo path/to/recipe.toml --set grpo.num_generations=8 --resume", "continue with the same settings"),
        ],
    ),
    (
        "sample",
        &[
            ("meno sample path/to/recipe.toml -m path/to/model", "write right answers to traces.jsonl"),
            ("meno sample path/to/recipe.toml --set sample.num_questions=100 -o runs/traces", "fewer questions"),
        ],
    ),
    (
        "plan",
        &[
            ("meno plan path/to/recipe.toml --nodes 2 --gpus 4", "processes on two machines like this one, 4 on each"),
            ("meno plan path/to/recipe.toml --device h100 --gpus 8", "a node with eight GPUs"),
            (
                "meno plan recipes/v3-pretrain.toml --device h800 --nodes 256 --gpus 8 --pipeline-parallel 16 \
                 --expert-parallel 64",
                "the cluster of DeepSeek-V3",
            ),
        ],
    ),
    (
        "distill",
        &[
            (
                "meno distill path/to/recipe.toml -m path/to/student",
                "teach a student with the recipe's teacher or traces",
            ),
            ("meno distill path/to/recipe.toml --set distill.teacher=path/to/teacher", "name the teacher here"),
        ],
    ),
    (
        "eval",
        &[
            ("meno eval path/to/model --task arithmetic --problems 100", "a built-in task"),
            ("meno eval -m ORG/NAME --task path/to/problems.jsonl -k 8 --out answers.jsonl", "your own problems"),
            ("meno eval recipes/eval-r1.toml -m path/to/model", "settings from a recipe"),
        ],
    ),
    (
        "verify",
        &[
            ("meno verify path/to/answers.jsonl --out judged.jsonl", "judge a file of answers"),
            ("meno verify path/to/programs.jsonl --sandbox", "judge programs by the tests of their questions"),
            (
                r#"echo '{"gold":"5","response":"The answer is 5."}' | meno verify -"#,
                "judge one answer from standard input",
            ),
        ],
    ),
    (
        "inspect",
        &[
            ("meno inspect path/to/model.gguf", "config, parameters, tensors, memory"),
            ("meno inspect ORG/NAME --tensors", "every tensor"),
            ("meno inspect path/to/config.json --bandwidth 100", "speed to expect with 100 GB/s of memory bandwidth"),
        ],
    ),
    (
        "quantize",
        &[
            ("meno quantize path/to/model --type q4_k_m --out model-q4_k_m.gguf", "a directory as a GGUF file"),
            ("meno quantize -m ORG/NAME --type q8_0 -o model-q8_0.gguf", "a model of the hub"),
        ],
    ),
    (
        "convert",
        &[
            ("meno convert path/to/model model.gguf --type bf16", "a directory as a GGUF file"),
            ("meno convert path/to/model.gguf path/to/out", "a GGUF file as a directory"),
            ("meno convert ORG/BASE path/to/merged --lora path/to/adapter", "merge a LoRA adapter into its base model"),
        ],
    ),
    ("logits", &[("meno logits path/to/model --tokens 1,2,3 --out logits.safetensors", "logits after each token")]),
    (
        "perplexity",
        &[
            ("meno perplexity path/to/model.gguf -f path/to/text.txt", "perplexity in windows of 512 tokens"),
            (
                "meno perplexity -m ORG/NAME -f path/to/text.txt --context 2k --chunks 20",
                "longer windows, fewer of them",
            ),
        ],
    ),
    (
        "bench",
        &[
            ("meno bench infer path/to/model.gguf", "speed of a model"),
            ("meno bench train --preset W2", "speed of training steps"),
            ("meno bench grpo --preset W2t", "speed of GRPO steps"),
        ],
    ),
    (
        "bench train",
        &[("meno bench train --preset V3 --threads 0", "training steps of a small DeepSeek-V3 network on all cores")],
    ),
    (
        "bench grpo",
        &[(
            "meno bench grpo -m path/to/model --questions 1 --generations 16 --gen 32",
            "a step of 16 answers of 32 tokens to one question",
        )],
    ),
    (
        "bench infer",
        &[("meno bench infer path/to/model.gguf --threads 0 --sequences 1,8", "one sequence and eight, on all cores")],
    ),
    (
        "doctor",
        &[
            ("meno doctor", "what this machine has, can do and lacks"),
            ("meno doctor --quick", "without measuring speeds or contacting the hub"),
            ("meno doctor --json | jq .speed", "for programs"),
        ],
    ),
    (
        "list",
        &[("meno list", "the models in the cache"), ("meno list --json | jq -r '.[].path'", "where their files are")],
    ),
    (
        "rm",
        &[
            ("meno rm Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M", "one file of a model"),
            ("meno rm Qwen/Qwen2.5-0.5B-Instruct-GGUF", "all its files"),
            ("meno rm Qwen/Qwen2.5-0.5B-Instruct-GGUF@9217f5db", "one version, as `meno list` shows it"),
        ],
    ),
    (
        "report",
        &[
            ("meno report runs/replicate-seed1", "write its report again"),
            ("meno report runs/replicate-seed1 --out site/", "in another directory"),
        ],
    ),
    (
        "completions",
        &[
            ("meno completions bash > ~/.local/share/bash-completion/completions/meno", "for bash"),
            ("meno completions zsh > ~/.zfunc/_meno", "for zsh, with ~/.zfunc in $fpath"),
            ("meno completions fish > ~/.config/fish/completions/meno.fish", "for fish"),
        ],
    ),
    ("man", &[("meno man --out ~/.local/share/man/man1", "then `man meno`, `man meno-chat`")]),
];

/// Adds examples, exit codes and version to every help text.
pub(crate) fn complete(command: Command) -> Command {
    let top = "\
Examples:
  meno chat -m Qwen/Qwen3-0.6B-GGUF:Q8_0    talk to a model
  meno serve -m path/to/model.gguf          serve it to browsers and programs
  meno replicate                            R1 from scratch, in minutes

A model is a path or a hub name, as MODEL or -m MODEL. Sizes in tokens may end with k, M or G (8k is 8192); \
--threads 0 uses all cores.";
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let command = names.iter().fold(command, |command, name| command.mut_subcommand(name, |c| with_examples(c, name)));
    command
        .after_help(format!("{top}\n{EXIT_CODES}"))
        .propagate_version(true)
        .version(version())
        .long_version(long_version())
}

fn with_examples(command: Command, path: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let command = names
        .iter()
        .fold(command, |command, name| command.mut_subcommand(name, |c| with_examples(c, &format!("{path} {name}"))));
    // With this, `--seed -1` is an invalid value, not an unknown option. Only options with a value can have it.
    let command = command.mut_args(|arg| match arg.get_action().takes_values() && !arg.is_positional() {
        true => arg.allow_negative_numbers(true),
        false => arg,
    });
    let mut text = String::new();
    if let Some((_, examples)) = EXAMPLES.iter().find(|(name, _)| *name == path) {
        text += "Examples:\n";
        for (line, what) in *examples {
            text += &format!("  {line}\n      {what}\n");
        }
        text.push('\n');
    }
    if let Some(more) = command.get_after_help() {
        text += &format!("{more}\n\n");
    }
    command.after_help(text + EXIT_CODES)
}

/// The version in one line, with the commit.
fn version() -> String {
    format!("{} ({})", env!("CARGO_PKG_VERSION"), env!("MENO_COMMIT"))
}

/// The version with everything that determines how this binary computes.
fn long_version() -> String {
    format!(
        "{}\ncommit    {}\nkernels   {} (chosen for this processor; MENO_CPU asks for a lower level)\nfeatures  {}\n\
         build     {}, {}",
        env!("CARGO_PKG_VERSION"),
        env!("MENO_COMMIT"),
        match level() {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        },
        features(),
        env!("MENO_TARGET"),
        env!("MENO_PROFILE"),
    )
}

/// The processor features that the kernels can use.
fn features() -> String {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let found: [(&str, bool); 0] = [];
    let names: Vec<&str> = found.iter().filter(|f| f.1).map(|f| f.0).collect();
    if names.is_empty() { "none that the kernels use".to_owned() } else { names.join(" ") }
}
