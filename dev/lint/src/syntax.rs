//! Small questions about syntax trees that several rules ask.

use proc_macro2::{TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::{Attribute, Item, Meta, Token};

/// Returns true if the attributes restrict an item to test builds: `#[test]`, or a `#[cfg(…)]` that can only hold with
/// `test`.
pub fn test_only(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let path = attr.path();
        match path.segments.last() {
            Some(last) if last.ident == "test" => true, // also #[tokio::test]
            Some(last) if last.ident == "cfg" => attr.parse_args::<Meta>().is_ok_and(|cfg| requires_test(&cfg)),
            _ => false,
        }
    })
}

fn requires_test(cfg: &Meta) -> bool {
    match cfg {
        Meta::Path(path) => path.is_ident("test"),
        Meta::NameValue(_) => false,
        Meta::List(list) => {
            let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).unwrap_or_default();
            match list.path.get_ident().map(ToString::to_string).as_deref() {
                Some("all") => parts.iter().any(requires_test),
                Some("any") => !parts.is_empty() && parts.iter().all(requires_test),
                _ => false,
            }
        }
    }
}

/// The attributes of an item.
pub fn attrs(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::ExternCrate(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::ForeignMod(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Macro(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::TraitAlias(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Union(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => &[],
    }
}

/// The first token, at any depth, that is the identifier or keyword `word`: its line.
pub fn line_of_word(tokens: TokenStream, word: &str) -> Option<usize> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) if ident == word => Some(ident.span().start().line),
        TokenTree::Group(group) => line_of_word(group.stream(), word),
        _ => None,
    })
}

/// Every identifier and keyword in the tokens, at any depth.
pub fn words(tokens: TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => found.push(ident.to_string()),
            TokenTree::Group(group) => found.extend(words(group.stream())),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cfg_that_only_tests_meet() {
        let test_only = |attr: &str| {
            let item: syn::ItemFn = syn::parse_str(&format!("{attr} fn f() {{}}")).unwrap();
            test_only(&item.attrs)
        };
        for attr in ["#[test]", "#[tokio::test]", "#[cfg(test)]", "#[cfg(all(test, unix))]"] {
            assert!(test_only(attr), "{attr}");
        }
        for attr in ["", "#[cfg(not(test))]", "#[cfg(any(test, feature = \"testing\"))]", "#[cfg(unix)]"] {
            assert!(!test_only(attr), "{attr}");
        }
    }

    #[test]
    fn words_in_strings_and_comments_do_not_count() {
        let tokens: TokenStream = "fn f() {\n // unsafe\n g(\"unsafe\");\n unsafe { h() } }".parse().unwrap();
        assert_eq!(line_of_word(tokens.clone(), "unsafe"), Some(4));
        assert_eq!(words(tokens), ["fn", "f", "g", "unsafe", "h"]);
    }
}
