//! `vitrine demo`: imports the test pictures into a data folder of its own and serves them, with calls to try.

use super::{CliError, import, joint, serve};
use crate::config::{LogConfig, ServerConfig, ServiceSettings};
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Data folder of the demo, unless one is given: never that of a real catalog.
const DATA_DIR: &str = "./vitrine-demo";

/// Options of `vitrine demo`.
#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    /// Folder of the test pictures, with their manifest.csv
    #[arg(long, env = "VITRINE_TESTDATA", default_value = "testdata")]
    testdata: PathBuf,
    #[command(flatten)]
    server: ServerConfig,
    #[command(flatten)]
    service: ServiceSettings,
    #[command(flatten)]
    log: LogConfig,
}

/// Runs `vitrine demo`.
pub(super) fn run(mut args: DemoArgs) -> Result<(), CliError> {
    let manifest = args.testdata.join("manifest.csv");
    if !manifest.is_file() {
        let detail = "not there; run this where the repository is, or give --testdata";
        return Err(CliError::table(manifest, detail));
    }
    serve::log(&args.log)?;
    if args.service.data == Default::default() {
        args.service.data.data_dir = PathBuf::from(DATA_DIR);
    }
    println!("importing {} into {}", manifest.display(), args.service.data.data_dir.display());
    let report = import::quietly(&args.service, &manifest)?;
    print!("{}", report.text());
    if report.stopped {
        return Ok(());
    }
    let (photo, product) = report.first.clone().unwrap_or_default();
    serve::serve(&args.server, &args.service, None, |address| print!("{}", calls(address, &photo, &product)))
}

/// What to try, ready to paste.
fn calls(address: SocketAddr, photo: &Path, product_id: &str) -> String {
    let (url, photo) = (format!("http://{address}"), quoted(&photo.display().to_string()));
    let id = joint::segment(product_id);
    format!(
        "vitrine is ready: {url}

what is on a photo: attributes and colors
  curl -s --data-binary @{photo} -H 'content-type: application/octet-stream' {url}/v1/analyze
products like a stored one
  curl -s '{url}/v1/products/{id}/similar?limit=5'
red products like a photo
  curl -s --data-binary @{photo} -H 'content-type: application/octet-stream' \\
    '{url}/v1/similar?filter=%7B%22color%22%3A%5B%22red%22%5D%7D'
a new product, and its photo
  curl -s -X PUT -H 'content-type: application/json' -d '{{\"title\": \"Mine\", \"price\": 59.9}}' {url}/v1/products/mine
  curl -s --data-binary @{photo} -H 'content-type: application/octet-stream' {url}/v1/products/mine/images
all routes, in a browser: {url}/docs

Ctrl-C stops it
"
    )
}

/// As one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_can_be_pasted_whatever_the_names_are() {
        let text = calls(SocketAddr::from(([127, 0, 0, 1], 80)), Path::new("a b/it's.png"), "red dress/1");
        assert!(text.contains(r"@'a b/it'\''s.png'"), "{text}");
        assert!(text.contains("/v1/products/red%20dress%2F1/similar"), "{text}");
        assert!(calls(SocketAddr::from(([127, 0, 0, 1], 80)), Path::new("a.png"), "p").contains("@a.png "));
    }
}
