//! Vitrine: product photos in; attributes, colors and similar products out.
//!
//! The way through the house, one room a stage:
//!
//! ```text
//! bytes or URL ─► photo ─► model ─┬─► attributes ────┐
//!                                 ├─► embedding ─────┼─► analysis ─► catalog ─► change log ─► index ─► similar
//!                                 └─► mask ─► color ─┘
//! ```
//!
//! | room | duty |
//! | --- | --- |
//! | [`photo`] | bytes or a URL become a [`photo::Photo`]: sRGB, upright, hashed; limits before memory |
//! | [`model`] | a model bundle and the engines that run it: `Photo` to logits and a unit embedding |
//! | [`attributes`] | logits to labels with calibrated confidence, or "unsure" |
//! | [`mask`] | which pixels are product, skin, background |
//! | [`color`] | product pixels to a palette with names |
//! | [`analyzer`] | the façade: the order of stages |
//! | [`catalog`] | products, images, analyses, corrections, change log; durable |
//! | [`jobs`] | bulk import: manifests and folders as rows, where their photos lie, what is tried again |
//! | [`feed`] | what consumers see of the change log |
//! | [`filter`] | the `filter` object of requests, checked and evaluated on a product's [`filter::Facets`] |
//! | [`index`] | nearest neighbours over embeddings |
//! | [`similar`] | a query to a page of similar products |
//! | [`scheduler`] | two bounded lanes for work that costs processor time |
//! | [`service`] | write path and read path: what is acknowledged is durable and visible |
//! | `backoff` | pauses before something is tried again |
//! | `child` | parts of the program that run in a process of their own |
//! | `collections` | lists and tables of millions that change under a lock without a long stop |
//! | [`metrics`] | counters and stage durations, for Prometheus and `Server-Timing` |
//! | [`http`] | routes, auth, limits, problem+json, OpenAPI |
//! | [`cli`] | commands and configuration |
pub mod analyzer;
pub mod attributes;
mod backoff;
pub mod catalog;
mod child;
pub mod cli;
mod collections;
pub mod color;
pub mod config;
pub mod feed;
pub mod filter;
pub mod http;
pub mod index;
pub mod jobs;
pub mod mask;
pub mod metrics;
pub mod model;
pub mod photo;
pub mod scheduler;
pub mod service;
pub mod similar;
