//! Structured answers: JSON schemas, regular expressions and Lark grammars, through llguidance.

use crate::error::ApiError;
use crate::grammar_limits;
use crate::lock::lock;
use crate::patterns;
use crate::places::Places;
use crate::schema::{SchemaError, child};
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use meno_engine::Tokenizer;
use meno_engine::constraint::{Choice, TokenMask};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Bytes of stack for compiling: llguidance descends with every rule and property.
const STACK: usize = 256 << 20;
/// Time to compile all grammars of one request, including the wait for a place.
const COMPILE_TIME: Duration = Duration::from_secs(10);
/// Most that all grammars of answers on their way may count together ([`grammar_limits::check`]): some kilobytes each.
const MAX_LIVE: usize = 20_000;
/// Most grammars that compile at once. One that exceeds its time is refused, but counts until its thread ends.
const COMPILING: usize = 4;
/// What llguidance may build and search: enough for schemas of hundreds of properties, and for a step of some ten
/// milliseconds, which all answers wait for.
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
/// Longest token that grammars use, in bytes; longer ones are runs of white space and the like.
const MAX_TOKEN_BYTES: usize = 255;

/// The form that an answer must have.
#[derive(Clone, Debug, PartialEq)]
pub enum Structure {
    /// Any JSON object.
    JsonObject,
    /// JSON of this schema.
    JsonSchema(Value),
    /// Text that matches this regular expression as a whole.
    Regex(String),
    /// Text of this Lark grammar (llguidance's dialect).
    Lark(String),
}

impl Structure {
    /// What the engine compiles.
    fn grammar(&self) -> Result<TopLevelGrammar, SchemaError> {
        Ok(match self {
            Structure::JsonObject => TopLevelGrammar::from_json_schema(json_grammar(&json!({ "type": "object" }))?),
            Structure::JsonSchema(schema) => TopLevelGrammar::from_json_schema(json_grammar(schema)?),
            Structure::Regex(regex) => TopLevelGrammar::from_regex(regex),
            Structure::Lark(grammar) => TopLevelGrammar::from_lark(grammar.clone()),
        })
    }
}

/// A text as a literal of a Lark grammar.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A schema as the engine takes it ([`crate::schema`]). White space between its tokens is possible but bounded, for a
/// small model would go on with it for ever; one of the schemas of `oneOf` must hold, and more may.
pub fn json_grammar(schema: &Value) -> Result<Value, SchemaError> {
    let mut schema = crate::schema::prepare(schema)?;
    let options = json!({ "whitespace_pattern": "[ \\n\\t\\r]{0,16}", "coerce_one_of": true });
    if let (Some(object), Value::Object(options)) = (schema.as_object_mut(), options) {
        let given = object.entry("x-guidance").or_insert_with(|| json!({}));
        if let Some(given) = given.as_object_mut() {
            for (key, value) in options {
                given.entry(key).or_insert(value);
            }
        }
    }
    Ok(schema)
}

/// Compiles grammars for one vocabulary. The table of its tokens is made when first needed.
pub struct Grammars {
    tokenizer: Arc<Tokenizer>,
    factory: OnceLock<Result<Arc<ParserFactory>, String>>,
    /// Places for grammars being compiled.
    compiling: Arc<Places>,
    /// What the grammars of answers on their way count together.
    live: Arc<AtomicUsize>,
}

/// A part of a count; dropping it gives it back.
struct Counted {
    of: Arc<AtomicUsize>,
    part: usize,
}

impl Counted {
    /// Adds `part` to a count, which it may bring to `most`; a part that is too large by itself is taken alone.
    fn add(of: &Arc<AtomicUsize>, part: usize, most: usize) -> Option<Counted> {
        let counted = Counted { of: of.clone(), part };
        let before = of.fetch_add(part, Ordering::AcqRel);
        (before == 0 || before + part <= most).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.of.fetch_sub(self.part, Ordering::AcqRel);
    }
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammars").field("ready", &self.factory.get().is_some()).finish()
    }
}

impl Grammars {
    /// For a tokenizer.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Grammars {
        Grammars { tokenizer, factory: OnceLock::new(), compiling: Places::new(COMPILING), live: Arc::default() }
    }

    /// A compiler for one request of the client that owns `places`.
    pub fn compiler(&self, places: &Arc<Places>) -> Compiler<'_> {
        Compiler { grammars: self, places: places.clone(), deadline: Instant::now() + COMPILE_TIME }
    }
}

/// Compiles the grammars of one request. They share 10 seconds, and the places of their client.
#[derive(Debug)]
pub struct Compiler<'a> {
    grammars: &'a Grammars,
    places: Arc<Places>,
    deadline: Instant,
}

impl Compiler<'_> {
    /// A grammar at its beginning; `param` is the field it came from. Takes processor time; not for the event loop.
    pub fn compile(&self, structure: &Structure, param: &str) -> Result<Grammar, ApiError> {
        let Grammars { tokenizer, factory: shared, compiling, live } = self.grammars;
        let refuse = |what: &str| ApiError::invalid(param, format!("{param} {what}"));
        let weight = grammar_limits::check(structure).map_err(|what| refuse(&what))?;
        let new = || factory(tokenizer).map(Arc::new).map_err(|e| e.to_string());
        let factory = shared.get_or_init(new).clone();
        let factory = factory.map_err(|e| ApiError::internal(format!("the grammar engine: {e}")))?;
        let busy = ApiError::many_grammars;
        let weight = Arc::new(Counted::add(live, weight, MAX_LIVE).ok_or_else(busy)?);
        let places = (self.places.take(self.deadline), compiling.take(self.deadline));
        let (Some(own), Some(shared)) = places else { return Err(busy()) };
        let (done, result) = sync_channel(1);
        let structure = structure.clone();
        let compile = move || {
            let compiled = compiled(&factory, &structure);
            drop((own, shared)); // only now, also when the request was refused for its time
            let _ = done.send(compiled); // who waited may have given up
        };
        std::thread::Builder::new()
            .name("grammar".into())
            .stack_size(STACK)
            .spawn(compile)
            .map_err(|e| ApiError::internal(format!("no thread for the grammar: {e}")))?;
        match result.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
            Ok(Ok(matcher)) => Ok(Grammar::new(matcher, tokenizer.eos(), weight)),
            Ok(Err(error)) => Err(refuse(&format!("cannot be used: {error}"))),
            Err(RecvTimeoutError::Timeout) => {
                Err(refuse(&format!("took more than {} s to compile; make it simpler", COMPILE_TIME.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => Err(refuse("cannot be used: the grammar engine failed on it")),
        }
    }
}

/// Compiles a form; of a schema the error tells the place.
fn compiled(factory: &ParserFactory, structure: &Structure) -> Result<Matcher, String> {
    if let Structure::JsonSchema(schema) = structure {
        // What other words for the same come to counts as well.
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
                let pointer = culprit(factory, schema, schema, "", tries);
                format!("at #{pointer}: {error}")
            }
            _ => error,
        }
    })
}

/// The deepest part of a schema that cannot be compiled by itself.
fn culprit(factory: &ParserFactory, root: &Value, schema: &Value, at: &str, tries: &mut usize) -> String {
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
        // References of the part lead to the definitions of the whole.
        let mut alone = part.clone();
        for key in ["$defs", "definitions"] {
            if let (Some(object), Some(definitions)) = (alone.as_object_mut(), root.get(key)) {
                object.entry(key).or_insert_with(|| definitions.clone());
            }
        }
        let fails = match json_grammar(&alone) {
            Ok(schema) => matcher(factory, TopLevelGrammar::from_json_schema(schema)).is_err(),
            Err(_) => false, // it leads to where it does not stand alone
        };
        if fails {
            return culprit(factory, root, part, &here, tries);
        }
    }
    at.to_owned()
}

/// Compiles a grammar, its first mask included: it is the dearest, for it fills the lexer's tables, which copies share.
fn matcher(factory: &ParserFactory, grammar: TopLevelGrammar) -> Result<Matcher, String> {
    let mut matcher = Matcher::new(factory.create_parser(grammar));
    match matcher.get_error() {
        Some(error) => Err(error),
        None => matcher.compute_mask().map(|_| matcher).map_err(|e| e.to_string()),
    }
}

/// Errors of the engine end with a dump of its state.
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

/// What went wrong with a grammar while it was followed.
#[derive(Clone, Debug, Default)]
pub struct GrammarFlag(Arc<OnceLock<String>>);

impl GrammarFlag {
    /// The message, if something did.
    pub fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// A grammar followed by one answer.
pub struct Grammar {
    state: State,
    /// What it counts among all.
    weight: Arc<Counted>,
    /// The tokens that end an answer.
    ends: Vec<u32>,
    failed: GrammarFlag,
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar").field("begun", &matches!(self.state, State::Begun(_))).finish()
    }
}

/// Answers that wait share the grammar at its beginning: a copy may take megabytes.
enum State {
    Waiting(Arc<Mutex<Matcher>>),
    Begun(Box<Matcher>),
}

impl Grammar {
    fn new(matcher: Matcher, ends: Vec<u32>, weight: Arc<Counted>) -> Grammar {
        let state = State::Waiting(Arc::new(Mutex::new(matcher)));
        Grammar { state, weight, ends, failed: GrammarFlag::default() }
    }

    /// Another answer of the same grammar, from where this one stands.
    pub fn another(&self) -> Grammar {
        let state = match &self.state {
            State::Waiting(matcher) => State::Waiting(matcher.clone()),
            State::Begun(matcher) => State::Begun(Box::new(matcher.deep_clone())),
        };
        Grammar { state, weight: self.weight.clone(), ends: self.ends.clone(), failed: GrammarFlag::default() }
    }

    /// The state of this answer alone.
    fn matcher(&mut self) -> &mut Matcher {
        if let State::Waiting(shared) = &self.state {
            let own = lock(shared).deep_clone();
            self.state = State::Begun(Box::new(own));
        }
        match &mut self.state {
            State::Begun(matcher) => matcher,
            State::Waiting(_) => unreachable!("invariant: the state has begun"),
        }
    }

    /// Where the response can read that the grammar failed.
    pub fn flag(&self) -> GrammarFlag {
        self.failed.clone()
    }

    /// What may come before the grammar has begun: anything but the end, which would leave nothing written.
    pub fn before(&self, mask: &mut TokenMask) -> Choice {
        mask.allow_all();
        self.ends.iter().for_each(|&end| mask.forbid(end));
        Choice::Masked
    }

    /// What may come next.
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

    /// Takes the token that came.
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
