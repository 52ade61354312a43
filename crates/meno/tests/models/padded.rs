//! Networks with more rows than the tokenizer has tokens.

use super::{Dir, ROWS, TOKENS, change, tokens};

/// A model that assigns by far the highest probability to the padding at every position: the padding rows of
/// its head point in both directions.
fn padded() -> Dir {
    Dir::new(false, |model| {
        let width = model.config.hidden_size;
        change(model, "lm_head.weight", |head| {
            for row in TOKENS..ROWS {
                let sign = if row % 2 == 0 { 8.0 } else { -8.0 };
                let at = row / 2 % 4;
                head[row * width..][..width].fill(0.0);
                head[row * width + at] = sign;
            }
        });
    })
}

#[test]
fn no_way_of_choosing_takes_a_row_beyond_the_tokenizer() {
    let dir = padded();
    let ways: [&[&str]; 6] = [
        &["--temperature", "0"],
        &["--temperature", "1", "--top-p", "1"],
        &["--temperature", "1", "--top-p", "0.9"],
        &["--temperature", "1", "--top-p", "1", "--top-k", "5"],
        &["--temperature", "1", "--top-p", "1", "--min-p", "0.1"],
        &["--temperature", "0", "--speculative", "ngram"],
    ];
    for way in ways {
        for answer in dir.generate("model", &[way, &["-n", "4", "--max-tokens", "40"]].concat()) {
            assert!(tokens(&answer).iter().all(|&t| t < TOKENS), "{way:?}: {answer}");
            // Log-probabilities are relative to all rows, and the padding has nearly all of the probability.
            let logprobs = answer["logprobs"].as_array().unwrap();
            assert!(logprobs.iter().all(|l| l.as_f64().unwrap() < -1.0), "{way:?}: {answer}");
        }
    }
}

#[test]
fn a_gguf_file_says_which_tokens_are_padding() {
    let dir = padded();
    dir.ok(&["convert", "model", "model.gguf", "--type", "f32"]);
    let [there, here] = ["model.gguf", "model"].map(|m| dir.generate(m, &["--temperature", "0", "--max-tokens", "20"]));
    assert_eq!(tokens(&there[0]), tokens(&here[0]));
    assert!(tokens(&there[0]).iter().all(|&t| t < TOKENS));
}

#[test]
fn rollouts_train_on_the_log_probabilities_that_were_sampled() {
    let dir = padded();
    dir.write("q.jsonl", "{\"question\": \"one two\", \"answer\": \"3\", \"language\": \"en\"}\n");
    let common = "[model]\npath = \"model\"\n[task]\nname = \"q.jsonl\"\nprompt = \"plain\"\n";
    // The check of the sampling/training gap stops the run if sampling and training differ in a single bit.
    // Random answers contain different scripts, so rewards differ within a group and there is something to
    // learn.
    dir.write(
        "rl.toml",
        &format!(
            "{common}[train]\nmax_steps = 2\nmax_tokens = 256\n[grpo]\nnum_questions = 2\nnum_generations = 8\n\
             max_completion_length = 24\nmax_prompt_length = 32\nlogprob_gap_tolerance = 0.0\n\
             reward_funcs = [\"language_consistency\"]\n[run]\noutput_dir = \"rl\"\nsave_steps = 1\n"
        ),
    );
    dir.ok(&["grpo", "rl.toml", "--plain"]);
    let metrics = std::fs::read_to_string(dir.path("rl/metrics.jsonl")).unwrap();
    let lines = metrics.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    let gaps: Vec<f64> = lines.filter_map(|l| l["sampling/logprob_gap"].as_f64()).collect();
    assert!(!gaps.is_empty() && gaps.iter().all(|&gap| gap == 0.0), "{metrics}");
}
