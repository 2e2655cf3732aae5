//! What consumers see of the change log: records on the wire, whichever way they travel.
//!
//! One record a change, in the order of the commits, as a CloudEvent 1.0 in the JSON format: [`Event`]. Records carry the
//! state of what was touched, not a difference, so that one that comes twice does no harm.
//!
//! A new consumer reads a snapshot (every product as of now, or a little later) and goes on from the sequence number that
//! the snapshot began with: what changed while it was read comes again. One that has a copy already reads a snapshot over it
//! when the model changes, and goes on from where it was: deletions in between are told by the log alone.

mod event;
mod features;
mod jetstream;
mod webhook;

pub use event::{Data, Event, MEDIA_TYPE, SCHEMA, Snapshot, source};
pub use features::{FEATURES_SCHEMA, FeaturesError, FeaturesWriter, ItemFeatures, PARQUET};
pub use jetstream::{JetStream, JetStreamConfig, JetStreamError};
pub use webhook::{
    EVENT_MEDIA_TYPE, WEBHOOK_HEADERS, is_webhook_secret, new_webhook_secret, webhook_headers, webhook_message_id,
};
