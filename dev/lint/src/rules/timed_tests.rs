//! No timed tests: a test must not fail because the machine is slow or busy.
//!
//! A finding is a comparison with a measured time that decides whether a test passes: inside `assert!`, `assert_eq!`
//! and their relatives, or in the condition of an `if` that panics. Measured times are calls of [`CLOCKS`], what
//! `let` binds to an expression with such a call, and results of helper functions of the file that measure.
//!
//! Three things are allowed: an assertion inside a loop about a clock that was started before the loop, which gives up
//! waiting after a deadline and measures nothing; tests on tokio's paused clock (`start_paused`), whose time does not
//! depend on the machine; and the functions in [`ALLOWED`]. Speed belongs in benchmarks.

use crate::rule::{Finding, Rule};
use crate::{Workspace, syntax};
use std::collections::{BTreeMap, BTreeSet};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Expr, Item, Local, Meta, Pat, Signature, Token};

/// Functions that return how much time has passed or what time it is.
const CLOCKS: [&str; 5] = ["elapsed", "duration_since", "cpu_seconds", "cpu_time", "now"];

/// Tests that may compare with a measured time: file, function and reason.
const ALLOWED: [(&str, &str, &str); 6] = [
    ("crates/meno-eval/tests/sandbox.rs", "run", "the limit on a program's run time is what is tested, with slack"),
    (
        "crates/meno/tests/serve/connections.rs",
        "half_open_connections_hold_nobody_up",
        "a server that waits for them takes 15 s, the time a head may take",
    ),
    (
        "crates/meno/tests/serve/connections.rs",
        "slow_heads_and_bodies_are_cut_off",
        "the limits on heads and bodies, 15 and 30 s, are what is tested",
    ),
    (
        "crates/meno/tests/serve/requests.rs",
        "large_texts_to_tokenize_do_not_starve_chats",
        "waiting behind all of the texts takes minutes",
    ),
    ("crates/meno/tests/serve/soak.rs", "honest", "the longest wait under load, 60 s, is what is tested"),
    (
        "crates/meno/tests/waiting/loading.rs",
        "a_server_that_loads_says_so_and_ends_at_once",
        "without the signal the download hangs for 30 s",
    ),
];

const UNLIST: &str = "take it off the list in dev/lint/src/rules/timed_tests.rs";

pub(super) const RULE: Rule = Rule {
    name: "timed-tests",
    summary: "no test passes or fails by how long something took",
    check: |workspace| check(workspace, &ALLOWED),
};

fn check(workspace: &Workspace, allowed: &[(&str, &str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &workspace.files {
        let mut search = Search { in_test: file.test_only, ..Search::default() };
        search.helpers(&file.syntax.items);
        search.visit_file(&file.syntax);
        for (_, function, _) in allowed.iter().filter(|(path, _, _)| *path == file.path) {
            if !search.found.iter().any(|(_, found)| found == function) {
                let message = format!("`{function}` compares with no measured time: {UNLIST}");
                findings.push(RULE.finding(&file.path, 1, message));
            }
        }
        for (line, function) in search.found {
            if !allowed.iter().any(|(path, name, _)| *path == file.path && *name == function) {
                let message = format!(
                    "`{function}` compares with a measured time: test what is done instead, make it a benchmark, or \
                     list it with its reason in dev/lint/src/rules/timed_tests.rs"
                );
                findings.push(RULE.finding(&file.path, line, message));
            }
        }
    }
    findings
}

#[derive(Default)]
struct Search {
    in_test: bool,
    function: String,
    /// How many loops are around this place.
    loops: usize,
    /// How many loops are around the place where a variable was bound to a clock or a measured time.
    bound_in: BTreeMap<String, usize>,
    /// Names of variables that hold a measured time and of functions that return one.
    timed: BTreeSet<String>,
    found: Vec<(usize, String)>,
}

impl Search {
    /// Notes the functions that measure and return a time.
    fn helpers(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Fn(f) => {
                    let returns = match &f.sig.output {
                        syn::ReturnType::Type(_, ty) => words_of(|w| w.visit_type(ty)),
                        syn::ReturnType::Default => BTreeSet::new(),
                    };
                    let number = ["Duration", "f64", "f32"].iter().any(|ty| returns.contains(*ty));
                    if number && self.is_timed(&words_of(|w| w.visit_block(&f.block))) {
                        self.timed.insert(f.sig.ident.to_string());
                    }
                }
                Item::Mod(m) => self.helpers(m.content.as_ref().map_or(&[], |(_, items)| items)),
                _ => {}
            }
        }
    }

    fn is_timed(&self, words: &BTreeSet<String>) -> bool {
        words.iter().any(|word| CLOCKS.contains(&word.as_str()) || self.timed.contains(word))
    }

    fn is_timed_expr(&self, expr: &Expr) -> bool {
        self.is_timed(&words_of(|w| w.visit_expr(expr)))
    }

    /// Returns true if an expression compares a measured time with something.
    fn compares(&self, expr: &Expr) -> bool {
        let mut comparisons = Comparisons { search: self, found: false };
        comparisons.visit_expr(expr);
        comparisons.found
    }

    /// Searches a function, whose variables are its own.
    fn within(&mut self, attrs: &[Attribute], sig: &Signature, visit: impl FnOnce(&mut Self)) {
        if attrs.iter().any(has_paused_clock) {
            return;
        }
        let mut inside = Search {
            in_test: self.in_test || syntax::test_only(attrs),
            function: sig.ident.to_string(),
            timed: self.timed.clone(),
            ..Search::default()
        };
        visit(&mut inside);
        self.found.append(&mut inside.found);
    }

    /// Notes a comparison, unless it gives up waiting: the clock was started before the innermost loop.
    fn report(&mut self, line: usize, compared: &Expr) {
        let words = words_of(|w| w.visit_expr(compared));
        let waits = self.loops > 0 && !words.iter().any(|word| self.bound_in.get(word) == Some(&self.loops));
        if self.in_test && !waits {
            self.found.push((line, self.function.clone()));
        }
    }
}

impl<'ast> Visit<'ast> for Search {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let outside = self.in_test;
        self.in_test |= syntax::test_only(&item.attrs);
        visit::visit_item_mod(self, item);
        self.in_test = outside;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.within(&item.attrs, &item.sig, |s| visit::visit_item_fn(s, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within(&item.attrs, &item.sig, |s| visit::visit_impl_item_fn(s, item));
    }

    fn visit_local(&mut self, local: &'ast Local) {
        if let Some(init) = &local.init {
            if measures(self, &init.expr) {
                self.timed.extend(bound(&local.pat));
            }
            if self.is_timed_expr(&init.expr) {
                self.bound_in.extend(bound(&local.pat).into_iter().map(|name| (name, self.loops)));
            }
        }
        visit::visit_local(self, local);
    }

    fn visit_expr_while(&mut self, expr: &'ast syn::ExprWhile) {
        self.loops += 1;
        visit::visit_expr_while(self, expr);
        self.loops -= 1;
    }

    fn visit_expr_loop(&mut self, expr: &'ast syn::ExprLoop) {
        self.loops += 1;
        visit::visit_expr_loop(self, expr);
        self.loops -= 1;
    }

    fn visit_expr_if(&mut self, expr: &'ast syn::ExprIf) {
        if self.compares(&expr.cond) && words_of(|w| w.visit_block(&expr.then_branch)).contains("panic") {
            self.report(expr.if_token.span.start().line, &expr.cond);
        }
        visit::visit_expr_if(self, expr);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
        let equal = matches!(name.as_str(), "assert_eq" | "assert_ne" | "prop_assert_eq");
        if equal || matches!(name.as_str(), "assert" | "debug_assert" | "prop_assert" | "ensure") {
            let arguments = call.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated).unwrap_or_default();
            // What follows the asserted values is the message, which may well say how long it took.
            let mut values = arguments.iter().take(if equal { 2 } else { 1 });
            if let Some(compared) = values.find(|value| self.compares(value)) {
                self.report(call.path.segments[0].ident.span().start().line, compared);
            }
        }
    }
}

/// Returns true if an attribute is `#[tokio::test(start_paused = true)]`.
fn has_paused_clock(attr: &Attribute) -> bool {
    let Meta::List(list) = &attr.meta else { return false };
    syntax::line_of_word(list.tokens.clone(), "start_paused").is_some()
}

/// Returns true if the value of an expression is a measured time, or a tuple or struct with one. A call that merely
/// takes the time as an argument, such as `wait_until(Instant::now() + PATIENCE)`, is not one.
fn measures(search: &Search, expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => {
            let name = words_of(|w| w.visit_expr(&call.func));
            !name.contains("now") && search.is_timed(&name)
        }
        Expr::MethodCall(call) => {
            call.method != "now" && search.is_timed(&BTreeSet::from([call.method.to_string()]))
                || measures(search, &call.receiver)
        }
        Expr::Binary(binary) => match binary.op {
            BinOp::Sub(_) => search.is_timed_expr(expr),
            _ => measures(search, &binary.left) || measures(search, &binary.right),
        },
        Expr::Tuple(tuple) => tuple.elems.iter().any(|e| measures(search, e)),
        Expr::Reference(reference) => measures(search, &reference.expr),
        Expr::Paren(paren) => measures(search, &paren.expr),
        Expr::Cast(cast) => measures(search, &cast.expr),
        Expr::Try(inner) => measures(search, &inner.expr),
        Expr::Closure(closure) => measures(search, &closure.body),
        Expr::Block(block) => {
            // Names bound inside the block are not known here: any clock but a bare `now` will do.
            let words = words_of(|w| w.visit_block(&block.block));
            matches!(block.block.stmts.last(), Some(syn::Stmt::Expr(last, None))
                if measures(search, last) || matches!(last, Expr::Tuple(_)) && words.contains("elapsed"))
        }
        Expr::Path(path) => search.is_timed(&words_of(|w| w.visit_path(&path.path))),
        _ => false,
    }
}

/// Looks for comparisons in which one side is a measured time.
struct Comparisons<'a> {
    search: &'a Search,
    found: bool,
}

impl<'ast> Visit<'ast> for Comparisons<'_> {
    fn visit_expr_binary(&mut self, expr: &'ast syn::ExprBinary) {
        let order = matches!(expr.op, BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_));
        self.found |= order && (self.search.is_timed_expr(&expr.left) || self.search.is_timed_expr(&expr.right));
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.found |= call.method == "contains" && call.args.iter().any(|arg| self.search.is_timed_expr(arg));
        visit::visit_expr_method_call(self, call);
    }
}

/// The identifiers in a piece of syntax, macro arguments included.
#[derive(Default)]
struct Words(BTreeSet<String>);

impl<'ast> Visit<'ast> for Words {
    fn visit_ident(&mut self, ident: &'ast syn::Ident) {
        self.0.insert(ident.to_string());
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        self.0.extend(syntax::words(call.tokens.clone()));
    }
}

fn words_of(visit: impl FnOnce(&mut Words)) -> BTreeSet<String> {
    let mut words = Words::default();
    visit(&mut words);
    words.0
}

/// The names that a pattern binds.
fn bound(pat: &Pat) -> BTreeSet<String> {
    words_of(|words| words.visit_pat(pat))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sample;

    fn lines(body: &str) -> Vec<usize> {
        let text = format!("#[test]\nfn t() {{\n{body}\n}}");
        let workspace = sample(&[("crates/x/tests/a.rs", &text)]);
        check(&workspace, &[]).iter().map(|f| f.line - 2).collect()
    }

    #[test]
    fn comparisons_with_a_measured_time() {
        for body in [
            "assert!(start.elapsed() < LIMIT);",
            "assert!(end == 1 && start.elapsed() < Duration::from_secs(1), \"slow\");",
            "let took = start.elapsed(); assert!(took.as_secs_f64() <= 1.0);",
            "let (a, took) = (f(), start.elapsed()); assert!(a == 1 && took < b);",
            "let took = Instant::now() - start; assert!(LIMIT > took);",
            "let time = |n| { f(n); start.elapsed() }; let (a, b) = (time(1), time(2)); assert!(a < b * 3);",
            "assert!((a..b).contains(&start.elapsed()));",
            "if start.elapsed() > LIMIT { panic!(\"slow\") }",
            "assert!(cpu_seconds() - before < 1.0);",
            "while more() { let start = Instant::now(); f(); assert!(start.elapsed() < LIMIT); }",
            "while more() { let took = start.elapsed(); f(); assert!(took < LIMIT); }",
        ] {
            assert_eq!(lines(body), [1], "{body}");
        }
    }

    #[test]
    fn deadlines_and_messages_are_no_measurements() {
        for body in [
            "assert_eq!(f(), 1, \"after {:?}\", start.elapsed());",
            "while !done() { assert!(Instant::now() < deadline, \"gave up\"); }",
            "let start = Instant::now(); loop { if start.elapsed() > LIMIT { panic!() } }",
            "let out = run(Instant::now() + LIMIT); assert!(out.len() > 3);",
            "let start = Instant::now(); f(); println!(\"{:?}\", start.elapsed());",
            "assert!(a < b);",
        ] {
            assert_eq!(lines(body), [0; 0], "{body}");
        }
    }

    #[test]
    fn only_tests_count_and_a_listed_function_is_allowed() {
        let text = "fn wait() { assert!(start.elapsed() < LIMIT); }\n#[cfg(test)] mod tests { fn helper() -> f64 {\n \
                    start.elapsed().as_secs_f64() }\n #[test] fn t() { assert!(helper() < 1.0); } }";
        let workspace = sample(&[("crates/x/src/lib.rs", text)]);
        assert_eq!(check(&workspace, &[]).iter().map(|f| f.line).collect::<Vec<_>>(), [4]);
        assert!(check(&workspace, &[("crates/x/src/lib.rs", "t", "a reason")]).is_empty());
        let stale = [("crates/x/src/lib.rs", "t", "a reason"), ("crates/x/src/lib.rs", "helper", "none")];
        assert_eq!(check(&workspace, &stale).iter().map(|f| f.line).collect::<Vec<_>>(), [1]);
        let text = "#[tokio::test(start_paused = true)]\nasync fn t() { assert!(start.elapsed() < LIMIT); }";
        assert!(check(&sample(&[("crates/x/tests/a.rs", text)]), &[]).is_empty());
    }
}
