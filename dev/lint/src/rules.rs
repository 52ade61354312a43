//! The rules, one file each.

mod crate_dependencies;
mod file_length;
mod forbid_unsafe;
mod function_length;
mod import_cycles;
mod line_width;
mod module_style;
mod phrases;
mod timed_tests;
mod unsafe_files;

use crate::rule::Rule;

/// Every rule, sorted by name.
pub const RULES: &[Rule] = &[
    crate_dependencies::RULE,
    file_length::RULE,
    forbid_unsafe::RULE,
    function_length::RULE,
    import_cycles::RULE,
    line_width::RULE,
    module_style::RULE,
    phrases::RULE,
    timed_tests::RULE,
    unsafe_files::RULE,
];
