//! Containers of many items that change under a lock: none of them copies or moves all it holds at once.

mod chunks;
mod tables;

pub(crate) use chunks::Chunks;
pub(crate) use tables::Tables;
