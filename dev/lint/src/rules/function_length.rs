//! Functions of at most 80 lines, from `fn` to the closing brace.
//!
//! Code for tests is excluded: a test may well be a long table of cases, and splitting it would not help. Attributes
//! and documentation do not count. A nested function counts for itself and for the one around it.

use crate::rule::{Finding, Rule};
use crate::{Workspace, syntax};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, Signature};

const LIMIT: usize = 80;

pub(super) const RULE: Rule = Rule {
    name: "function-length",
    summary: "a function has at most 80 lines; code for tests is excluded",
    check: |workspace| check(workspace, LIMIT),
};

fn check(workspace: &Workspace, limit: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in workspace.files.iter().filter(|file| !file.test_only) {
        let mut functions = Functions(Vec::new());
        functions.visit_file(&file.syntax);
        for (name, first, last) in functions.0 {
            let lines = last - first + 1;
            if lines > limit {
                let message = format!("`{name}` has {lines} lines, at most {limit}: move a step into its own function");
                findings.push(RULE.finding(&file.path, first, message));
            }
        }
    }
    findings
}

/// Name, first line and last line of every function.
struct Functions(Vec<(String, usize, usize)>);

impl Functions {
    fn add(&mut self, sig: &Signature, block: &Block) {
        self.0.push((sig.ident.to_string(), sig.span().start().line, block.span().end().line));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !syntax::test_only(syntax::attrs(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sample;

    #[test]
    fn functions_methods_and_default_methods_are_measured() {
        let source = "/// Not\n/// counted.\nfn short() {\n}\n\nimpl S {\n  fn long() {\n\n  }\n}\n\
                      trait T {\n  fn none();\n  fn long() {\n\n  }\n}\n\
                      #[test]\nfn table() {\n\n  }\n";
        let workspace = sample(&[("crates/x/src/lib.rs", source)]);
        assert_eq!(check(&workspace, 2).iter().map(|f| f.line).collect::<Vec<_>>(), [7, 13]);
        assert!(check(&workspace, 3).is_empty());
    }
}
