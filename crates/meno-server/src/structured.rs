//! Compiles grammars with llguidance and applies them to answers.

use crate::error::ApiError;
use crate::grammar_limits;
use crate::lock::lock;
use crate::patterns;
use crate::places::Places;
use crate::schema::child;
pub use crate::structure::Structure;
use crate::structure::json_grammar;
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use meno_engine::Tokenizer;
use meno_engine::constraint::{Choice, TokenMask};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Stack size in bytes for compiling: llguidance recurses for every rule and property.
const STACK: usize = 256 << 20;
/// Maximum time to compile all grammars of one request, including the wait for a place.
const COMPILE_TIME: Duration = Duration::from_secs(10);
/// Maximum total weight of the grammars of all running answers ([`grammar_limits::check`]). A unit takes a few
/// kilobytes.
const MAX_LIVE: usize = 20_000;
/// Maximum number of grammars that compile at once. One that exceeds its time is rejected but counts until its thread
/// ends.
const COMPILING: usize = 4;
/// Limits for llguidance. They are enough for schemas with hundreds of properties and bound a step to about ten
/// milliseconds; all answers wait for it.
const LIMITS: ParserLimits = ParserLimits {
    max_items_in_row: 2000,
    initial_lexer_fuel: 500_000,
    step_lexer_fuel: 100_000,
    step_max_items: 20_000,
    max_lexer_states: 30_000,
    max_grammar_size: 200_000,
    precompute_large_lexemes: true,
    verbose_errors: false,
};
/// Longest token in bytes that grammars use. Longer tokens are mostly runs of white space.
const MAX_TOKEN_BYTES: usize = 255;

/// Compiles grammars for one vocabulary. The token table is built on first use.
pub struct Grammars {
    tokenizer: Arc<Tokenizer>,
    factory: OnceLock<Result<Arc<ParserFactory>, String>>,
    /// Limits how many grammars compile at once.
    compiling: Arc<Places>,
    /// Total weight of the grammars of running answers.
    live: Arc<AtomicUsize>,
}

/// A part of a total; dropping it subtracts it.
struct Weight {
    total: Arc<AtomicUsize>,
    weight: usize,
}

impl Weight {
    /// Adds `weight` to a total, up to `most`. A weight above `most` is accepted only if the total was 0.
    fn add(total: &Arc<AtomicUsize>, weight: usize, most: usize) -> Option<Weight> {
        let added = Weight { total: total.clone(), weight };
        let before = total.fetch_add(weight, Ordering::AcqRel);
        (before == 0 || before + weight <= most).then_some(added)
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.total.fetch_sub(self.weight, Ordering::AcqRel);
    }
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammars").field("ready", &self.factory.get().is_some()).finish()
    }
}

impl Grammars {
    /// Creates the compiler for a tokenizer.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Grammars {
        Grammars { tokenizer, factory: OnceLock::new(), compiling: Places::new(COMPILING), live: Arc::default() }
    }

    /// Returns a compiler for one request; `places` limits how many grammars of its client compile at once.
    pub fn compiler(&self, places: &Arc<Places>) -> Compiler<'_> {
        Compiler { grammars: self, places: places.clone(), deadline: Instant::now() + COMPILE_TIME }
    }
}

/// Compiles the grammars of one request. They share a time limit of 10 seconds and the places of their client.
#[derive(Debug)]
pub struct Compiler<'a> {
    grammars: &'a Grammars,
    places: Arc<Places>,
    deadline: Instant,
}

impl Compiler<'_> {
    /// Compiles a grammar; `param` is the request field that it came from. Needs CPU time, so do not call this on the
    /// event loop.
    pub fn compile(&self, structure: &Structure, param: &str) -> Result<Grammar, ApiError> {
        let Grammars { tokenizer, factory: shared, compiling, live } = self.grammars;
        let reject = |what: &str| ApiError::invalid(param, format!("{param} {what}"));
        let weight = grammar_limits::check(structure).map_err(|what| reject(&what))?;
        let new = || factory(tokenizer).map(Arc::new).map_err(|e| e.to_string());
        let factory = shared.get_or_init(new).clone();
        let factory = factory.map_err(|e| ApiError::internal(format!("the grammar engine: {e}")))?;
        let busy = ApiError::many_grammars;
        let weight = Arc::new(Weight::add(live, weight, MAX_LIVE).ok_or_else(busy)?);
        let places = (self.places.take(self.deadline), compiling.take(self.deadline));
        let (Some(own), Some(shared)) = places else { return Err(busy()) };
        let (done, result) = sync_channel(1);
        let structure = structure.clone();
        let work = move || {
            let compiled = compile(&factory, &structure);
            drop((own, shared)); // only now, even if the request has already timed out
            let _ = done.send(compiled); // the receiver may have timed out
        };
        std::thread::Builder::new()
            .name("grammar".into())
            .stack_size(STACK)
            .spawn(work)
            .map_err(|e| ApiError::internal(format!("cannot start a thread for the grammar: {e}")))?;
        match result.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
            Ok(Ok(matcher)) => Ok(Grammar::new(matcher, tokenizer.eos(), weight)),
            Ok(Err(error)) => Err(reject(&format!("cannot be used: {error}"))),
            Err(RecvTimeoutError::Timeout) => {
                Err(reject(&format!("took more than {} s to compile; make it simpler", COMPILE_TIME.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => Err(reject("cannot be used: the grammar engine failed on it")),
        }
    }
}

/// Compiles a structure. Errors about a schema name the place in it.
fn compile(factory: &ParserFactory, structure: &Structure) -> Result<Matcher, String> {
    if let Structure::JsonSchema(schema) = structure {
        // Check the rewritten schema too, because it may be larger.
        let prepared = crate::schema::prepare(schema).map_err(|e| e.to_string())?;
        grammar_limits::check(&Structure::JsonSchema(prepared))?;
    }
    if let Structure::Regex(pattern) = structure {
        patterns::check(pattern)?;
    }
    let grammar = structure.grammar().map_err(|e| e.to_string())?;
    matcher(factory, grammar).map_err(|error| {
        let error = first_lines(&error);
        match structure {
            Structure::JsonSchema(schema) => {
                let tries = &mut 100;
                let pointer = failing_part(factory, schema, schema, "", tries);
                format!("at #{pointer}: {error}")
            }
            _ => error,
        }
    })
}

/// Returns the JSON pointer of the deepest part of a schema that does not compile alone.
fn failing_part(factory: &ParserFactory, root: &Value, schema: &Value, at: &str, tries: &mut usize) -> String {
    let mut parts: Vec<(String, &Value)> = Vec::new();
    for (key, value) in schema.as_object().into_iter().flatten() {
        let here = child(at, key);
        match (key.as_str(), value) {
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(entries)) => {
                parts.extend(entries.iter().map(|(name, part)| (child(&here, name), part)));
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(items)) => {
                parts.extend(items.iter().enumerate().map(|(i, part)| (child(&here, &i.to_string()), part)));
            }
            ("items" | "additionalProperties", Value::Object(_)) => parts.push((here, value)),
            _ => {}
        }
    }
    for (here, part) in parts {
        let Some(rest) = tries.checked_sub(1) else { break };
        *tries = rest;
        // The part may refer to the definitions of the whole schema.
        let mut alone = part.clone();
        for key in ["$defs", "definitions"] {
            if let (Some(object), Some(definitions)) = (alone.as_object_mut(), root.get(key)) {
                object.entry(key).or_insert_with(|| definitions.clone());
            }
        }
        let fails = match json_grammar(&alone) {
            Ok(schema) => matcher(factory, TopLevelGrammar::from_json_schema(schema)).is_err(),
            Err(_) => false, // it has references that do not work without the rest
        };
        if fails {
            return failing_part(factory, root, part, &here, tries);
        }
    }
    at.to_owned()
}

/// Compiles a grammar and computes its first mask. That one is the most expensive: it fills the tables of the lexer,
/// which copies of the matcher share.
fn matcher(factory: &ParserFactory, grammar: TopLevelGrammar) -> Result<Matcher, String> {
    let mut matcher = Matcher::new(factory.create_parser(grammar));
    match matcher.get_error() {
        Some(error) => Err(error),
        None => matcher.compute_mask().map(|_| matcher).map_err(|e| e.to_string()),
    }
}

/// Removes the dump of the state at the end of llguidance's errors.
fn first_lines(error: &str) -> String {
    error.lines().take_while(|l| !l.starts_with("<state>")).take(6).collect::<Vec<_>>().join("; ")
}

fn factory(tokenizer: &Tokenizer) -> Result<ParserFactory, Box<dyn std::error::Error>> {
    let words: Vec<Vec<u8>> = (tokenizer.token_bytes().into_iter())
        .map(|t| match t.special {
            true => [&[TokTrie::SPECIAL_TOKEN_MARKER], &t.bytes[..]].concat(),
            false => t.bytes,
        })
        .map(|bytes| if bytes.len() > MAX_TOKEN_BYTES { Vec::new() } else { bytes })
        .collect();
    let eos = tokenizer.eos().first().copied().unwrap_or(0);
    let info = TokRxInfo::new(words.len() as u32, eos);
    let env: TokEnv = Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &words)));
    let mut factory = ParserFactory::new_simple(&env)?;
    factory.quiet();
    *factory.limits_mut() = LIMITS;
    Ok(factory)
}

/// Why a grammar failed while an answer was generated, if it did.
#[derive(Clone, Debug, Default)]
pub struct GrammarFlag(Arc<OnceLock<String>>);

impl GrammarFlag {
    /// The error message, if there is one.
    pub fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// A grammar applied to one answer.
pub struct Grammar {
    state: State,
    /// Its part of the total weight.
    weight: Arc<Weight>,
    /// The tokens that end an answer.
    end_tokens: Vec<u32>,
    failed: GrammarFlag,
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar").field("begun", &matches!(self.state, State::Own(_))).finish()
    }
}

/// Answers that have not started share one matcher, because a copy may take megabytes.
enum State {
    Shared(Arc<Mutex<Matcher>>),
    Own(Box<Matcher>),
}

impl Grammar {
    fn new(matcher: Matcher, end_tokens: Vec<u32>, weight: Arc<Weight>) -> Grammar {
        let state = State::Shared(Arc::new(Mutex::new(matcher)));
        Grammar { state, weight, end_tokens, failed: GrammarFlag::default() }
    }

    /// Returns a copy for another answer, in the same state.
    pub fn another(&self) -> Grammar {
        let state = match &self.state {
            State::Shared(matcher) => State::Shared(matcher.clone()),
            State::Own(matcher) => State::Own(Box::new(matcher.deep_clone())),
        };
        Grammar {
            state,
            weight: self.weight.clone(),
            end_tokens: self.end_tokens.clone(),
            failed: GrammarFlag::default(),
        }
    }

    /// Returns the matcher of this answer; copies the shared one on first use.
    fn matcher(&mut self) -> &mut Matcher {
        if let State::Shared(shared) = &self.state {
            let own = lock(shared).deep_clone();
            self.state = State::Own(Box::new(own));
        }
        match &mut self.state {
            State::Own(matcher) => matcher,
            State::Shared(_) => unreachable!("invariant: the matcher was copied"),
        }
    }

    /// Returns the flag that the response reads.
    pub fn flag(&self) -> GrammarFlag {
        self.failed.clone()
    }

    /// Computes the tokens that are allowed before the grammar starts: all except the ones that would end the answer.
    pub fn mask_before_start(&self, mask: &mut TokenMask) -> Choice {
        mask.allow_all();
        self.end_tokens.iter().for_each(|&end| mask.forbid(end));
        Choice::Masked
    }

    /// Computes the tokens that are allowed next.
    pub fn choose(&mut self, mask: &mut TokenMask) -> Choice {
        if self.matcher().is_stopped() {
            return Choice::End;
        }
        match self.matcher().compute_mask() {
            Ok(allowed) => {
                mask.copy_from(allowed.as_slice());
                Choice::Masked
            }
            Err(e) => self.fail(&e.to_string()),
        }
    }

    /// Adds the token that was generated.
    pub fn accept(&mut self, token: u32) {
        if let Err(e) = self.matcher().consume_token(token) {
            self.fail(&e.to_string());
        }
    }

    fn fail(&mut self, message: &str) -> Choice {
        let _ = self.failed.0.set(first_lines(message)); // the first error is the cause
        Choice::End
    }
}
