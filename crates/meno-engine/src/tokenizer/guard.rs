//! Converts panics of the tokenizers library into errors: its inputs are untrusted, and it panics on some invalid ones.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}
static HOOK: Once = Once::new();

/// Returns the result of `f`, or its panic message. Nothing is printed.
pub(super) fn guarded<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    HOOK.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                report(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    // The only state that `f` can leave half-done is a tokenizer's cache of words, which the library always reads
    // whole.
    let result = catch_unwind(AssertUnwindSafe(f));
    QUIET.set(before);
    result.map_err(|payload| message(payload.as_ref()))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    format!("the tokenizers library failed: {}", text.as_deref().unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        assert_eq!(guarded(|| 3), Ok(3));
        let error = guarded(|| -> i32 { panic!("no {}", "vocabulary") }).unwrap_err();
        assert_eq!(error, "the tokenizers library failed: no vocabulary");
        assert!(guarded(|| [1][std::hint::black_box(1)]).unwrap_err().contains("index out of bounds"));
    }
}
