//! `vitrine similar`: products of the catalog that are like a photo or like a product of it.

use super::term::{Paint, clean, table};
use super::{CliError, joint, runtime};
use crate::config::ServiceSettings;
use crate::service::{PhotoInput, PhotoSource, SimilarTo};
use crate::similar::SimilarPage;
use clap::Args;
use std::io::Write;
use std::path::Path;

/// Options of `vitrine similar`.
#[derive(Args, Debug)]
pub(super) struct SimilarArgs {
    /// A photo, where a file of this name exists; else a product id
    query: String,
    /// Most products
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// As the API's `filter`: '{"in_stock": true, "price": {"lt": 60}, "color": ["red"]}'
    #[arg(long)]
    filter: Option<String>,
    /// Print the answer of the API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    service: ServiceSettings,
}

/// Runs `vitrine similar`.
pub(super) fn run(args: &SimilarArgs) -> Result<(), CliError> {
    let filter = args.filter.as_deref().map(joint::filter).transpose()?;
    let to = query(args)?;
    let service = joint::open_service(&args.service, 0)?;
    let params = joint::similar_params(args.limit, filter);
    let page = runtime()?.block_on(service.similar(to, params)).map_err(CliError::from);
    let closed = service.close().map_err(CliError::from);
    let page = page?;
    closed?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &page).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", text(&page, Paint::stdout()))?;
    }
    Ok(())
}

fn query(args: &SimilarArgs) -> Result<SimilarTo, CliError> {
    let path = Path::new(&args.query);
    if !path.is_file() {
        return Ok(SimilarTo::Product(args.query.clone()));
    }
    let limit = args.service.photo.max_body_bytes;
    let bytes = joint::read_bytes(path, limit).map_err(|(_, detail)| CliError::table(path, detail))?;
    Ok(SimilarTo::Photo(PhotoInput { source: PhotoSource::Bytes(bytes), crop: None }))
}

fn text(page: &SimilarPage, paint: Paint) -> String {
    if page.items.is_empty() {
        return "nothing similar\n".into();
    }
    let row = |(rank, item): (usize, &_)| {
        let (product_id, score, image_id) = joint::similar_item(item);
        vec![(rank + 1).to_string(), clean(product_id), format!("{score:.3}"), clean(image_id)]
    };
    let rows: Vec<Vec<String>> = page.items.iter().enumerate().map(row).collect();
    let footer = paint.faint(&format!("{} products, model {}", rows.len(), clean(&page.model_version)));
    format!("{}{footer}\n", table(&["rank", "product", "score", "image"], &rows))
}
