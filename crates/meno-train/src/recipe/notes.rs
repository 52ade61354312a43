//! Finds settings that have no effect because of other settings: leftovers of another recipe, or a misunderstanding.
//!
//! They are reported, not rejected: recipes are copied and edited, and a leftover does no harm. Contradictions are
//! rejected by the checks of each section.

use super::conditions::Condition;
use super::read::{Recipe, flat, resolved};

/// Returns a sentence for every setting that is not the default and has no effect.
pub fn notes<R: Recipe>(recipe: &R) -> Vec<String> {
    let (set, default) = (flat(&resolved(recipe)), flat(&resolved(&R::default())));
    let named = |condition: &Condition, key: &str| {
        condition.keys.iter().any(|k| k.strip_suffix('*').map_or(key == *k, |start| key.starts_with(start)))
    };
    let mut notes = Vec::new();
    for condition in recipe.conditions().iter().filter(|c| !c.holds) {
        for (key, value) in set.iter().filter(|(key, value)| named(condition, key) && default.get(*key) != Some(value))
        {
            notes.push(format!("`{key}` = {value} {}", condition.note));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{GrpoRecipe, SftRecipe, parse};

    fn grpo(text: &str) -> Vec<String> {
        notes(&parse::<GrpoRecipe>("", text, &[]).unwrap())
    }

    #[test]
    fn what_changes_nothing_is_noted_by_name() {
        for (text, note) in [
            ("[grpo]\nepsilon = 10.0", "`grpo.epsilon` = 10.0 leaves the ratio without a lower bound"),
            ("[grpo]\nepsilon_high = 0.5\nloss_type = \"sapo\"", "`grpo.epsilon_high` = 0.5 has no effect"),
            (
                "[grpo]\ncosine_max_len = 5",
                "`grpo.cosine_max_len` = 5 has no effect: `grpo.reward_funcs` has no cosine_length",
            ),
            (
                "[grpo]\nuse_bias_correction_kl = true",
                "`grpo.use_bias_correction_kl` = true has no effect: `grpo.beta` is 0",
            ),
            ("[grpo]\nref_model_sync_steps = 5", "has no effect without `grpo.sync_ref_model`"),
            ("[grpo]\nmax_resample_rounds = 5", "has no effect without `grpo.dynamic_sampling`"),
            ("[grpo]\nreward_timeout = 5.0", "`grpo.reward_funcs` has no program"),
            ("[train]\nwarmup_steps = 9\nmax_steps = 5", "`train.warmup_steps` = 9 is more than `train.max_steps` = 5"),
            ("[train]\nmuon_momentum = 0.5", "`train.optim` is adamw"),
            ("[train]\nlr_scheduler_type = \"constant\"\nmin_lr_rate = 0.5", "`train.min_lr_rate` = 0.5 has no effect"),
            ("[train]\nlearning_rate = 0.0", "`train.learning_rate` = 0.0 changes no weight"),
            ("[task]\nsystem = \"Be brief.\"\nprompt = \"r1_zero\"", "`task.system` = \"Be brief.\" has no effect"),
            ("[task]\nname = \"arithmetic\"\n[task.countdown]\nmax_numbers = 6", "`task.countdown.max_numbers` = 6"),
            ("[eval]\nnum_samples = 9", "`eval.num_samples` = 9 has no effect: `eval.eval_steps` is 0"),
        ] {
            let notes = grpo(text);
            assert!(notes.len() == 1 && notes[0].contains(note), "{text}: {notes:#?}");
        }
        for used in [
            "",
            "[grpo]\nepsilon = 0.3\nepsilon_high = 0.4",
            "[grpo]\nreward_funcs = [\"cosine_length\"]\ncosine_max_len = 5",
            "[grpo]\nbeta = 0.1\nsync_ref_model = true\nref_model_sync_steps = 5",
            "[train]\nwarmup_steps = 5\nmax_steps = 5",
            "[eval]\nnum_samples = 9\neval_steps = 2",
        ] {
            assert_eq!(grpo(used), [""; 0], "{used}");
        }
        let sft = |text: &str| notes(&parse::<SftRecipe>("", text, &[]).unwrap());
        assert_eq!(sft(""), [""; 0]);
        let notes = sft("[train]\nmax_steps = 7\n[sft]\nnum_train_epochs = 1.0");
        assert_eq!(notes, ["`train.max_steps` = 7 has no effect: `sft.num_train_epochs` sets the steps"]);
        let notes = sft("[eval]\neval_steps = 5\neval_files = [\"a.jsonl\"]\nnum_samples = 9");
        assert!(notes.len() == 1 && notes[0].contains("only the loss is measured"), "{notes:?}");
    }
}
