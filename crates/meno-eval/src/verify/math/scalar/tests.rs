mod algebra;
mod enclosure;
mod notation;
mod properties;
mod tables;
