//! A change as a CloudEvent (CloudEvents 1.0.2, JSON event format, structured mode).

use crate::catalog::{Change, Payload, Product, effective_attributes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Media type of a sequence of records, one JSON object a line.
pub const MEDIA_TYPE: &str = "application/x-ndjson";
/// Names the schema of `data`. A field may be added under the same name; what changes or takes away meaning gets another.
pub const SCHEMA: &str = "urn:vitrine:feed:v1";
/// The only version of CloudEvents there is.
const SPEC_VERSION: &str = "1.0";

/// How records name the catalog of that id.
pub fn source(catalog_id: &str) -> String {
    format!("urn:uuid:{catalog_id}")
}

/// One record of the feed; `source` and `id` together name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = FeedEvent)]
pub struct Event {
    /// `1.0`.
    pub specversion: String,
    /// Unique in its source: the sequence number of a change, `snapshot/<began>/<seq>/<product_id>` in a snapshot.
    pub id: String,
    /// The catalog, `urn:uuid:<id>`: another one when the store was set up anew, or was seen to be put back from a copy.
    pub source: String,
    /// `vitrine.<kind>.v1`: the kind of the change, or `product_snapshot`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The product; absent where the change is not one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub subject: Option<String>,
    /// RFC 3339, UTC: when the change was made.
    pub time: String,
    /// `application/json`.
    pub datacontenttype: String,
    /// Names the schema of `data`.
    pub dataschema: String,
    /// Place in the log, 1 and up; in a snapshot, that of the product's last change.
    pub seq: u64,
    /// What there is now.
    pub data: Data,
}

/// State after a change, as far as the change touched it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = FeedData)]
pub struct Data {
    /// The product.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub product_id: Option<String>,
    /// The image, where the change was one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub image_id: Option<String>,
    /// By kind; of a snapshot, all but `image` and `model_version`.
    #[serde(flatten)]
    pub payload: Payload,
    /// All images of a product: in a snapshot only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<crate::catalog::Image>, required = false)]
    pub images: Option<Vec<crate::catalog::Image>>,
}

impl Event {
    /// The record of a change of the catalog with that id.
    pub fn of_change(catalog: &str, change: Change) -> Self {
        let Change { seq, at, kind, product_id, image_id, payload } = change;
        let subject = product_id.clone();
        let data = Data { product_id, image_id, payload, images: None };
        Self::new(catalog, seq.to_string(), kind.as_str(), (subject, at, seq), data)
    }

    fn new(catalog: &str, id: String, kind: &str, about: (Option<String>, String, u64), data: Data) -> Self {
        let (subject, time, seq) = about;
        Self {
            specversion: SPEC_VERSION.into(),
            id,
            source: source(catalog),
            kind: format!("vitrine.{kind}.v1"),
            subject,
            time,
            datacontenttype: "application/json".into(),
            dataschema: SCHEMA.into(),
            seq,
            data,
        }
    }
}

/// What a snapshot says of a product.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// Id of the catalog.
    pub catalog: &'a str,
    /// Sequence number that the snapshot began with.
    pub began: u64,
}

impl Snapshot<'_> {
    /// The record of a product as it is.
    pub fn event(&self, product: Product) -> Event {
        let attributes = effective_attributes(&product);
        let Product { product_id, metadata, corrections, images, updated_at, seq, .. } = product;
        let payload = Payload {
            metadata: Some(metadata),
            corrections: Some(corrections),
            attributes: Some(attributes),
            ..Payload::default()
        };
        let id = format!("snapshot/{}/{seq}/{product_id}", self.began);
        let subject = Some(product_id.clone());
        let data = Data { product_id: Some(product_id), image_id: None, payload, images: Some(images) };
        Event::new(self.catalog, id, "product_snapshot", (subject, updated_at, seq), data)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::catalog::ChangeKind;

    #[test]
    fn a_change_is_a_cloud_event() {
        let change = Change {
            seq: 7,
            at: "2026-01-02T03:04:05.678Z".into(),
            kind: ChangeKind::ImageDeleted,
            product_id: Some("sku 1".into()),
            image_id: Some("a.jpg".into()),
            payload: Payload { attributes: Some(Vec::new()), ..Payload::default() },
        };
        let event = Event::of_change("0af0", change);
        insta::assert_json_snapshot!(event, @r#"
        {
          "specversion": "1.0",
          "id": "7",
          "source": "urn:uuid:0af0",
          "type": "vitrine.image_deleted.v1",
          "subject": "sku 1",
          "time": "2026-01-02T03:04:05.678Z",
          "datacontenttype": "application/json",
          "dataschema": "urn:vitrine:feed:v1",
          "seq": 7,
          "data": {
            "product_id": "sku 1",
            "image_id": "a.jpg",
            "attributes": []
          }
        }
        "#);
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }
}
