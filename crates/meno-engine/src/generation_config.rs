//! The sampling settings that a model's authors recommend: `generation_config.json` of a Hugging Face directory, or
//! `general.sampling.*` of a GGUF file.

use crate::error::Error;
use crate::tokenizer::{Tokenizer, gguf, read_json};
use meno_model::gguf::{Gguf, Metadata};
use serde_json::{Value, json};
use std::path::Path;

/// The file's name in a checkpoint directory.
pub const FILE: &str = "generation_config.json";

/// The temperature if the model specifies none.
const TEMPERATURE: f32 = 0.6;
/// The top-p if the model specifies none.
const TOP_P: f32 = 0.95;

/// Default sampling settings. `None` means not specified.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    /// See [`Sampling::temperature`](crate::Sampling::temperature); 0 where `do_sample` is false.
    pub temperature: Option<f32>,
    /// See [`Sampling::top_p`](crate::Sampling::top_p).
    pub top_p: Option<f32>,
    /// See [`Sampling::top_k`](crate::Sampling::top_k).
    pub top_k: Option<usize>,
    /// See [`Sampling::min_p`](crate::Sampling::min_p).
    pub min_p: Option<f32>,
    /// See [`Sampling::repetition_penalty`](crate::Sampling::repetition_penalty).
    pub repetition_penalty: Option<f32>,
}

impl GenerationConfig {
    /// Reads the settings of a Hugging Face directory or a GGUF file; missing keys stay `None`.
    pub fn load(path: &Path) -> Result<GenerationConfig, Error> {
        if Gguf::is_gguf(path) {
            return GenerationConfig::of_gguf(&gguf::open(path)?);
        }
        let file = path.join(FILE);
        let config = read_json(&file)?;
        let number = |key: &str| match &config[key] {
            Value::Null => Ok(None),
            value => value.as_f64().filter(|x| x.is_finite()).map(|x| Some(x as f32)).ok_or_else(|| {
                Error::file(&file, format!("key `{key}` is {value}, expected a number; correct it or remove the key"))
            }),
        };
        let greedy = (config["do_sample"] == false).then_some(0.0);
        Ok(GenerationConfig {
            temperature: number("temperature")?.or(greedy),
            top_p: number("top_p")?,
            // −1 and 0 mean: keep all tokens.
            top_k: number("top_k")?.map(|k| k.max(0.0) as usize),
            min_p: number("min_p")?,
            repetition_penalty: number("repetition_penalty")?,
        })
    }

    /// Reads the keys of a GGUF file, as llama.cpp writes and reads them.
    fn of_gguf(file: &Gguf) -> Result<GenerationConfig, Error> {
        let number = |key: &str| {
            let value = file.opt_f64(&format!("general.sampling.{key}"));
            value.map(|x| x.map(|x| x as f32)).map_err(|e| Error::Tokenizer(e.to_string()))
        };
        Ok(GenerationConfig {
            temperature: number("temp")?,
            top_p: number("top_p")?,
            top_k: number("top_k")?.map(|k| k.max(0.0) as usize),
            min_p: number("min_p")?,
            repetition_penalty: number("penalty_repeat")?,
        })
    }

    /// Adds the settings to the metadata of a GGUF file.
    pub fn add_to_gguf(&self, out: &mut Metadata) {
        let numbers = [
            ("temp", self.temperature),
            ("top_p", self.top_p),
            ("min_p", self.min_p),
            ("penalty_repeat", self.repetition_penalty),
        ];
        for (key, value) in numbers {
            if let Some(value) = value {
                out.f32(&format!("general.sampling.{key}"), value);
            }
        }
        if let Some(k) = self.top_k {
            out.i32("general.sampling.top_k", i32::try_from(k).unwrap_or(i32::MAX));
        }
    }

    /// Fills missing values: temperature 0.6 and top-p 0.95, as R1's authors recommend.
    #[must_use]
    pub fn or_default(self) -> GenerationConfig {
        GenerationConfig {
            temperature: self.temperature.or(Some(TEMPERATURE)),
            top_p: self.top_p.or(Some(TOP_P)),
            ..self
        }
    }

    /// Returns the content of a `generation_config.json` with these settings and the special tokens of `tokenizer`.
    pub fn to_json(&self, tokenizer: &Tokenizer) -> String {
        let mut config = json!({});
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                config[key] = value;
            }
        };
        let eos = tokenizer.eos();
        put("bos_token_id", tokenizer.bos().map(Value::from));
        put(
            "eos_token_id",
            match eos[..] {
                [] => None,
                [id] => Some(id.into()),
                _ => Some(eos.into()),
            },
        );
        put("pad_token_id", tokenizer.special().pad.as_ref().map(|t| t.1.into()));
        // Write an f32 with the fewest digits that parse back to the same value.
        let number = |x: f32| x.to_string().parse::<f64>().ok().map(Value::from);
        put("do_sample", self.temperature.map(|t| (t > 0.0).into()));
        put("temperature", self.temperature.filter(|&t| t > 0.0).and_then(number));
        put("top_p", self.top_p.and_then(number));
        put("top_k", self.top_k.map(Value::from));
        put("min_p", self.min_p.and_then(number));
        put("repetition_penalty", self.repetition_penalty.and_then(number));
        format!("{config:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::CharacterLevel;

    fn read(text: &str) -> Result<GenerationConfig, Error> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), text).unwrap();
        GenerationConfig::load(dir.path())
    }

    #[test]
    fn published_files() {
        // The files of DeepSeek-R1 and Qwen2.5-Instruct.
        let r1 = read(
            r#"{"_from_model_config": true, "bos_token_id": 0, "eos_token_id": 1, "do_sample": true,
            "temperature": 0.6, "top_p": 0.95, "transformers_version": "4.39.3"}"#,
        );
        let expected = GenerationConfig { temperature: Some(0.6), top_p: Some(0.95), ..Default::default() };
        assert_eq!(r1.unwrap(), expected);
        let qwen = read(r#"{"repetition_penalty": 1.05, "temperature": 0.7, "top_p": 0.8, "top_k": 20}"#).unwrap();
        assert_eq!((qwen.temperature, qwen.top_k, qwen.repetition_penalty), (Some(0.7), Some(20), Some(1.05)));
        assert_eq!(read(r#"{"do_sample": false, "top_k": -1}"#).unwrap().temperature, Some(0.0));
        let nothing = tempfile::tempdir().unwrap();
        let none = GenerationConfig::load(nothing.path()).unwrap();
        assert_eq!(none, GenerationConfig::default());
        assert_eq!((none.or_default().temperature, none.or_default().top_p), (Some(0.6), Some(0.95)));
    }

    #[test]
    fn a_wrong_value_is_named() {
        let error = read(r#"{"temperature": "hot"}"#).unwrap_err().to_string();
        assert!(error.contains("generation_config.json: key `temperature` is \"hot\", expected a number"), "{error}");
        assert!(read("{").unwrap_err().to_string().contains("generation_config.json"));
    }

    #[test]
    fn what_is_written_reads_back() {
        let tokenizer = Tokenizer::character_level(&CharacterLevel {
            special: &["<pad>", "<eos>", "<unk>"],
            alphabet: "0123",
            eos: "<eos>",
            pad: Some("<pad>"),
            unk: "<unk>",
            ..Default::default()
        })
        .unwrap();
        let settings = GenerationConfig { temperature: Some(0.6), top_k: Some(20), ..Default::default() };
        let text = settings.to_json(&tokenizer);
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({"eos_token_id": 1, "pad_token_id": 0, "do_sample": true, "temperature": 0.6, "top_k": 20})
        );
        assert_eq!(read(&text).unwrap(), settings);
        let greedy = GenerationConfig { temperature: Some(0.0), ..Default::default() };
        assert_eq!(read(&greedy.to_json(&tokenizer)).unwrap(), greedy);
    }
}
