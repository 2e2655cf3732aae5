//! v
fn main() {}
