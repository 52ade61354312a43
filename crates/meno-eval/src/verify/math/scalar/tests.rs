mod algebra;
mod golden;
mod notation;
mod properties;
mod tables;
