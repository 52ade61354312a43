//! Deserializes fields that hold a string or a list. Unlike those of serde's untagged enums, errors say which part is
//! wrong and what was expected.

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A string or a list.
pub(crate) enum TextOrList<T> {
    Text(String),
    List(Vec<T>),
}

struct Reader<T>(&'static str, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
    type Value = TextOrList<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(TextOrList::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(TextOrList::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(TextOrList::List)
    }
}

/// Deserializes a string or a list; `expected` describes both for errors.
pub(crate) fn text_or_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<TextOrList<T>, D::Error> {
    deserializer.deserialize_any(Reader(expected, PhantomData))
}

/// Implements `Deserialize` for an enum with a variant for a string and one for a list.
macro_rules! read_text_or_list {
    ($name:ident, $text:ident, $list:ident, $expected:literal) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use $crate::text_or_list::{TextOrList, text_or_list};
                Ok(match text_or_list(deserializer, $expected)? {
                    TextOrList::Text(text) => $name::$text(text),
                    TextOrList::List(list) => $name::$list(list),
                })
            }
        }
    };
}
pub(crate) use read_text_or_list;
