//! Normalizes the characters of an answer before scanning.

use super::super::symbols::{digit_of, is_invisible, latex_of, script_of};

/// Replaces Unicode signs with LaTeX, and digits of all scripts with ASCII digits.
pub(super) fn normalized(text: &str) -> Vec<char> {
    let mut out: Vec<char> = Vec::with_capacity(text.len());
    let mut script: Option<bool> = None;
    let mut invisible = false;
    for c in text.chars() {
        if is_invisible(c) {
            invisible = true;
            continue;
        }
        // Invisible characters do not join digits: the digits stay separate.
        let in_number = |c: char| digit_of(c).is_some() || matches!(c, '.' | ',');
        if std::mem::take(&mut invisible) && in_number(c) && out.last().is_some_and(|&c| in_number(c)) {
            out.push('\0');
        }
        let raised = script_of(c);
        if script.is_some() && script != raised.map(|(up, _)| up) {
            out.push('}');
            script = None;
        }
        if let Some((up, plain)) = raised {
            if script.is_none() {
                out.extend([if up { '^' } else { '_' }, '{']);
                script = Some(up);
            }
            out.push(plain);
        } else if let Some(digit) = digit_of(c) {
            out.push(char::from(b'0' + digit));
        } else if let Some(latex) = latex_of(c) {
            out.extend(latex.chars());
        } else if ('！'..='～').contains(&c) {
            // Full-width forms of ASCII.
            out.push(char::from_u32(c as u32 - 0xFEE0).unwrap_or(c));
        } else {
            out.push(c);
        }
    }
    if script.is_some() {
        out.push('}');
    }
    out
}
