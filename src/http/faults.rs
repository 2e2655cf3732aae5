//! The rooms' errors as problems: the one place that decides which error is whose fault and what is told of it.
//! Errors of ours are logged whole and sent as a request id.

use super::problem::{Kind, Problem};
use crate::catalog::CatalogError;
use crate::filter::FilterError;
use crate::model::ModelError;
use crate::photo::FetchError;
use crate::photo::PhotoError;
use crate::scheduler::SchedulerError;
use crate::service::ServiceError;
use crate::similar::SimilarError;

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Photo(error) => photo(&error),
            ServiceError::Fetch(error) => fetch(&error),
            ServiceError::Catalog(error) => catalog(&error),
            ServiceError::Filter(error) => filter(&error),
            ServiceError::Similar(error) => similar(&error),
            ServiceError::Scheduler(error) => scheduler(&error),
            ServiceError::UnknownAttribute { ref expected, ref received, .. } => {
                Problem::new(Kind::UnknownAttribute, &error).expected(expected).received(received)
            }
            ServiceError::UnknownModel { ref version, ref known } => {
                Problem::new(Kind::UnknownModel, &error).expected(known.join(", ")).received(version)
            }
            // Only an activation loads a bundle; a model that fails on a photo is our fault.
            ServiceError::Model(error)
                if !matches!(error, ModelError::Engine { .. } | ModelError::NotFinite { .. }) =>
            {
                tracing::warn!(%error, "model bundle refused");
                Problem::new(Kind::ModelRefused, error)
            }
            ServiceError::JobState { state, .. } => Problem::new(Kind::JobState, &error).received(state.as_str()),
            ServiceError::TooManyJobs { limit } => Problem::new(Kind::Overloaded, &error).limit(limit).retry_after(60),
            ServiceError::ManifestTooLong { limit } => {
                Problem::new(Kind::BodyTooLarge, &error).expected(format!("at most {limit} bytes")).limit(limit)
            }
            ServiceError::TooManyWebhooks { limit } => Problem::new(Kind::TooManyWebhooks, &error).limit(limit),
            ServiceError::UnknownDelivery { seq } => Problem::new(Kind::UnknownDelivery, &error).received(seq),
            ServiceError::BadCursor => Problem::new(Kind::InvalidCursor, &error)
                .expected("the cursor that an earlier page of the same listing gave for the next"),
            ServiceError::BeyondLog { after, last } => Problem::new(Kind::BeyondLog, &error)
                .expected(format!("a sequence number up to {last}"))
                .received(after),
            ServiceError::BeforeLog { after, first } => Problem::new(Kind::BeforeLog, &error)
                .expected(format!("at least {}; or begin anew with a snapshot", first - 1))
                .received(after),
            _ => Problem::internal(&error),
        }
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        catalog(&error)
    }
}

impl From<FilterError> for Problem {
    fn from(error: FilterError) -> Self {
        filter(&error)
    }
}

fn photo(error: &PhotoError) -> Problem {
    let problem = |kind| Problem::new(kind, error);
    match error {
        PhotoError::Empty => problem(Kind::EmptyBody).expected("the bytes of a photo").received("0 bytes"),
        PhotoError::TooManyBytes { limit, received } => {
            problem(Kind::BodyTooLarge).limit(*limit as u64).received(format!("{received} bytes"))
        }
        PhotoError::NotAnImage { received } => problem(Kind::PhotoNotAnImage).expected(FORMATS).received(received),
        PhotoError::UnsupportedFormat { received } => {
            problem(Kind::PhotoUnsupported).expected(FORMATS).received(received)
        }
        PhotoError::UnsupportedFeature { detail, .. } => problem(Kind::PhotoUnsupported).received(detail),
        PhotoError::Truncated { expected, received, .. } => {
            problem(Kind::PhotoTruncated).expected(expected).received(format!("{received} bytes"))
        }
        PhotoError::Malformed { .. } => problem(Kind::PhotoDamaged),
        PhotoError::SizeMismatch { declared, found, .. } => problem(Kind::PhotoDamaged)
            .expected(format!("{}x{}", declared.0, declared.1))
            .received(format!("{}x{}", found.0, found.1)),
        PhotoError::TooManyPixels { limit, width, height } => {
            problem(Kind::PhotoTooLarge).limit(*limit).received(format!("{width}x{height}"))
        }
        PhotoError::SideTooLong { limit, width, height } => {
            problem(Kind::PhotoTooLarge).limit(u64::from(*limit)).received(format!("{width}x{height}"))
        }
        PhotoError::TooSmall { limit, width, height } => {
            problem(Kind::PhotoTooSmall).limit(u64::from(*limit)).received(format!("{width}x{height}"))
        }
        PhotoError::TooManyFrames { limit, received } => {
            problem(Kind::PhotoTooLarge).limit(u64::from(*limit)).received(format!("{received} frames"))
        }
        PhotoError::TooMuchMemory { limit, needed } => {
            problem(Kind::PhotoTooLarge).limit(*limit).received(format!("{needed} bytes of memory"))
        }
        PhotoError::BoxOutside { received, width, height } => {
            problem(Kind::InvalidBox).expected(format!("a box within 0,0,{width},{height}")).received(received)
        }
        PhotoError::BoxTooSmall { received, limit, .. } => {
            problem(Kind::InvalidBox).limit(u64::from(*limit)).received(received)
        }
        // The decoder's bug, but this file's doing: sent again it fails again, so it is not a 5xx to retry.
        PhotoError::DecoderPanicked { .. } => {
            tracing::error!(%error, "a decoder panicked");
            problem(Kind::PhotoDamaged)
        }
        _ => Problem::internal(error),
    }
}

const FORMATS: &str = "JPEG, PNG, WebP, AVIF, GIF or BMP";

fn fetch(error: &FetchError) -> Problem {
    let failed = Problem::new(Kind::FetchFailed, error);
    match error {
        FetchError::Url { detail } => failed.expected("an http or https URL").received(detail),
        FetchError::Scheme { expected, received } => failed.expected(expected).received(received),
        FetchError::Userinfo => failed.expected("a URL without user name and password"),
        FetchError::AddressRefused { address, .. } => failed.expected("a public address").received(address),
        FetchError::Redirects { limit } => failed.limit(*limit as u64),
        FetchError::Status { expected, received, .. } => failed.expected(expected).received(received),
        FetchError::Encoding { expected, received } => failed.expected(expected).received(received),
        FetchError::TooLarge { limit, received } => {
            failed.limit(*limit as u64).received(format!("{received} bytes or more"))
        }
        FetchError::Incomplete { received } => failed.received(format!("{received} bytes")),
        FetchError::Timeout { limit_ms } => failed.limit(*limit_ms),
        FetchError::Busy { limit, .. } => Problem::new(Kind::Overloaded, error).limit(*limit as u64).retry_after(1),
        FetchError::AllowHost { .. } | FetchError::CaFile { .. } | FetchError::Client { .. } => {
            Problem::internal(error)
        }
        _ => failed,
    }
}

fn catalog(error: &CatalogError) -> Problem {
    let problem = |kind| Problem::new(kind, error);
    match error {
        CatalogError::UnknownProduct { product_id } => problem(Kind::UnknownProduct).received(product_id),
        CatalogError::UnknownImage { image_id, .. } => problem(Kind::UnknownImage).received(image_id),
        CatalogError::UnknownJob { job_id } => problem(Kind::UnknownJob).received(job_id),
        CatalogError::UnknownWebhook { webhook_id } => problem(Kind::UnknownWebhook).received(webhook_id),
        CatalogError::TooManyImages { limit, .. } => problem(Kind::TooManyImages).limit(*limit as u64),
        CatalogError::IdempotencyConflict { key } => problem(Kind::IdempotencyConflict)
            .expected("the same method, path, query and body as the first time, or another key")
            .received(key),
        CatalogError::Invalid { expected, received, .. } => {
            problem(Kind::InvalidParameter).expected(expected).received(received)
        }
        CatalogError::Busy { .. } => {
            tracing::warn!(%error, "catalog busy");
            Problem::new(Kind::Overloaded, "the catalog is busy").retry_after(1)
        }
        CatalogError::StorageFull => {
            tracing::error!(%error, "storage full");
            problem(Kind::StorageFull)
        }
        _ => Problem::internal(error),
    }
}

fn filter(error: &FilterError) -> Problem {
    let problem = Problem::new(Kind::InvalidFilter, error);
    match error {
        FilterError::Invalid { expected, received, .. } => problem.expected(expected).received(received),
        FilterError::UnknownField { path, expected } => problem.expected(expected).received(path),
        FilterError::TooLarge { limit, received, .. } => problem.limit(*limit as u64).received(received),
        FilterError::NotJson { .. } => problem.expected("one JSON object"),
    }
}

fn similar(error: &SimilarError) -> Problem {
    match error {
        SimilarError::Invalid { field, expected, received } => {
            let kind = if *field == "cursor" { Kind::InvalidCursor } else { Kind::InvalidParameter };
            Problem::new(kind, error).expected(expected).received(received)
        }
        SimilarError::Filter(error) => filter(error),
        SimilarError::UnknownProduct { product_id } => Problem::new(Kind::UnknownProduct, error).received(product_id),
        SimilarError::NoImage { product_id } => {
            Problem::new(Kind::InvalidQuery, error).expected("a product with an image").received(product_id)
        }
        SimilarError::Index(error) => Problem::internal(error),
    }
}

fn scheduler(error: &SchedulerError) -> Problem {
    match error {
        SchedulerError::Full { waiting, retry_after_s } => {
            Problem::new(Kind::Overloaded, error).limit(*waiting as u64).retry_after(*retry_after_s)
        }
        SchedulerError::Late { retry_after_s, .. } => Problem::new(Kind::Overloaded, error).retry_after(*retry_after_s),
        SchedulerError::Stopped => Problem::new(Kind::Stopping, error).retry_after(5),
        SchedulerError::Panicked => Problem::internal(error),
    }
}
