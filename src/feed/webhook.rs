//! Requests to webhooks, as Standard Webhooks 1.0.0 has them: an id that is the same at each attempt, the time of the attempt, and
//! signatures over both and the body, one for each secret in force, so that secrets can be changed without a gap.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// Media type of a record that is sent alone (CloudEvents 1.0.2, HTTP binding, structured mode).
pub const EVENT_MEDIA_TYPE: &str = "application/cloudevents+json";
/// Heads of a request: the message's id, when it was sent, and what it is signed with.
pub const WEBHOOK_HEADERS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// What secrets begin with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret, by the standard.
const SECRET_BYTES: RangeInclusive<usize> = 24..=64;

/// A secret of 32 random bytes: what two random UUIDs hash to, 244 random bits.
pub fn new_webhook_secret() -> String {
    use sha2::Digest;
    let random = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    format!("{PREFIX}{}", STANDARD.encode(Sha256::digest(random)))
}

/// Whether it is a secret: `whsec_` and 24 to 64 bytes in base64.
pub fn is_webhook_secret(text: &str) -> bool {
    key(text).is_some()
}

fn key(secret: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    SECRET_BYTES.contains(&bytes.len()).then_some(bytes)
}

/// The id of the message about a change of the catalog with that id.
pub fn webhook_message_id(catalog_id: &str, seq: u64) -> String {
    format!("msg_{catalog_id}_{seq}")
}

/// Values of [`WEBHOOK_HEADERS`]; `sent_unix` in seconds.
pub fn webhook_headers<'s>(
    message_id: &str,
    sent_unix: i64,
    body: &str,
    secrets: impl Iterator<Item = &'s str>,
) -> [String; 3] {
    let signature = |secret: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key(secret)?).ok()?;
        mac.update(format!("{message_id}.{sent_unix}.{body}").as_bytes());
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    };
    let signatures: Vec<String> = secrets.filter_map(signature).collect();
    [message_id.to_owned(), sent_unix.to_string(), signatures.join(" ")]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's own libraries.
    #[test]
    fn the_standards_example_is_signed_as_it_says() {
        let [id, at, signature] = webhook_headers(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            std::iter::once("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        );
        assert_eq!((id.as_str(), at.as_str()), ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"));
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_are_of_the_standards_form() {
        let secret = new_webhook_secret();
        assert!(is_webhook_secret(&secret) && secret != new_webhook_secret());
        let short = format!("{PREFIX}{}", STANDARD.encode([7; 23]));
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_*", &short] {
            assert!(!is_webhook_secret(bad), "{bad}");
        }
        let both = webhook_headers("m", 1, "{}", [secret.as_str(), &new_webhook_secret()].into_iter());
        assert_eq!(both[2].split(' ').filter(|one| one.starts_with("v1,")).count(), 2);
    }
}
