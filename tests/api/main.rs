//! The HTTP API through a real listener and the real service, a file a route.
//! Without a model bundle there is no service: the tests then say SKIPPED and pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod analyze;
mod auth;
mod bad_input;
mod busy;
mod document;
mod export;
mod feed;
mod images;
mod jetstream;
mod jobs;
mod models;
mod observed;
mod photos;
mod products;
mod server;
mod similar;
mod starting;
mod webhooks;
