//! wip
#[derive(Debug)]
pub struct Reference;
