//! `vitrine export features`: a folder of Parquet that grows by a partition whenever it is run, with what changed since.
//!
//! `OUT/cursor=<seq>/part-00000.parquet`, ..., and `_features.json` beside the parts. Of partitions from the newest on that is
//! full, the row of a product with the largest `seq` counts, of equal ones that in the newest partition; one that says `deleted`
//! ends it.

use super::{CliError, store};
use crate::catalog::{CatalogReader, CopiedTo};
use crate::config::DataConfig;
use crate::feed::{FEATURES_SCHEMA, FeaturesWriter, ItemFeatures, source};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::BufWriter;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Products read at once.
const STEP: usize = 500;
/// Rows of a row group, about: some 10 MB of embeddings.
const ROW_GROUP: usize = 10_000;
/// What the folder of a partition is called, but for its sequence number.
const PARTITION: &str = "cursor=";
/// What a partition says of itself; readers of Parquet pass over files that begin with `_`.
const ABOUT: &str = "_features.json";

/// Options of `vitrine export features`.
#[derive(Args, Debug)]
pub(super) struct FeaturesArgs {
    /// Folder to make, or to add to
    #[arg(long)]
    out: PathBuf,
    /// How files are written
    #[arg(long, value_enum, default_value_t = Format::Parquet)]
    format: Format,
    /// Products a file, about
    #[arg(long, default_value = "100000")]
    rows_per_file: NonZeroUsize,
    /// Every product, also where there is an export already
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    data: DataConfig,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Parquet,
}

/// What a partition says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    /// [`FEATURES_SCHEMA`].
    schema: String,
    /// The catalog, as the feed names it.
    source: String,
    /// Every product is there: partitions before it do not count any more.
    is_full: bool,
    /// What is there changed after this change...
    after: u64,
    /// ...and up to this one.
    cursor: u64,
    /// Who looked.
    model_version: String,
    /// Rows in all.
    rows: u64,
    /// Of them, of products that are gone.
    deleted: u64,
    /// Its parts.
    files: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    name: String,
    rows: u64,
}

/// Runs `vitrine export features`.
pub(super) fn run(args: &FeaturesArgs) -> Result<(), CliError> {
    let Format::Parquet = args.format;
    let reader = CatalogReader::open(&args.data.data_dir).map_err(store)?;
    let about = export(&reader, args)?;
    match about {
        Some(About { is_full, rows, deleted, cursor, files, .. }) => println!(
            "{}: {} {} products, {deleted} of them gone, in {} files",
            args.out.join(format!("{PARTITION}{cursor}")).display(),
            if is_full { "all" } else { "changes of" },
            rows,
            files.len()
        ),
        None => println!("{}: nothing has changed since", args.out.display()),
    }
    Ok(())
}

/// Writes a partition beside the others and renames it: one of that name is whole. `None` where nothing changed.
fn export(reader: &CatalogReader, args: &FeaturesArgs) -> Result<Option<About>, CliError> {
    fs::create_dir_all(&args.out).map_err(CliError::io("create", &args.out))?;
    let there = newest(&args.out)?;
    let newest = there.clone().filter(|_| !args.full);
    let page = reader.product_states(None, 1).map_err(store)?;
    let source = source(&page.catalog_id);
    if let Some(about) = &there
        && (about.source != source || about.cursor > page.last)
    {
        let detail = format!(
            "{} has what another catalog, or this one before it was put back from a copy, had up to {}: use another folder",
            args.out.display(),
            about.cursor
        );
        return Err(CliError::Option { option: "--out", detail });
    }
    // What is kept of the log says which products are gone since; else it begins anew.
    let newest = newest.filter(|about| about.cursor + 1 >= page.first);
    let staged = args.out.join(".new");
    // A run that was killed may have left one.
    let _ = fs::remove_dir_all(&staged);
    fs::create_dir_all(&staged).map_err(CliError::io("create", &staged))?;
    let written = Partition::new(args, &staged, source).write(reader, newest.as_ref());
    let kept = written.and_then(|about| {
        let is_new = newest.is_none_or(|newest| newest.cursor != about.cursor);
        if is_new { place(&args.out, &staged, &about).map(|()| Some(about)) } else { Ok(None) }
    });
    let _ = fs::remove_dir_all(&staged);
    kept
}

fn place(out: &Path, staged: &Path, about: &About) -> Result<(), CliError> {
    let path = out.join(format!("{PARTITION}{}", about.cursor));
    // There is one where all is exported once more, and nothing changed since.
    let old = out.join(".old");
    let _ = fs::remove_dir_all(&old);
    if path.exists() {
        fs::rename(&path, &old).map_err(CliError::io("rename", &path))?;
    }
    fs::rename(staged, &path).map_err(CliError::io("rename", staged))?;
    let _ = fs::remove_dir_all(&old);
    File::open(out).and_then(|folder| folder.sync_all()).map_err(CliError::io("sync", out))
}

/// What the newest partition says of itself.
fn newest(out: &Path) -> Result<Option<About>, CliError> {
    let entries = fs::read_dir(out).map_err(CliError::io("read", out))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let Some(cursor) = names.filter_map(|name| name.strip_prefix(PARTITION)?.parse::<u64>().ok()).max() else {
        return Ok(None);
    };
    let path = out.join(format!("{PARTITION}{cursor}")).join(ABOUT);
    let text = fs::read(&path).map_err(CliError::io("read", &path))?;
    let bad = |error| CliError::Option { option: "--out", detail: format!("{}: {error}", path.display()) };
    let about: About = serde_json::from_slice(&text).map_err(bad)?;
    if about.schema != FEATURES_SCHEMA {
        let detail =
            format!("{} has features of {}, this version writes {FEATURES_SCHEMA}", out.display(), about.schema);
        return Err(CliError::Option { option: "--out", detail });
    }
    Ok(Some(about))
}

/// A partition that is being written.
struct Partition<'a> {
    dir: &'a Path,
    source: String,
    rows_per_file: u64,
    /// Rows of the next row group.
    group: Vec<ItemFeatures>,
    open: Option<FeaturesWriter<BufWriter<File>>>,
    files: Vec<Part>,
}

impl<'a> Partition<'a> {
    fn new(args: &FeaturesArgs, dir: &'a Path, source: String) -> Self {
        let rows_per_file = args.rows_per_file.get() as u64;
        Self { dir, source, rows_per_file, group: Vec::new(), open: None, files: Vec::new() }
    }

    fn write(mut self, reader: &CatalogReader, newest: Option<&About>) -> Result<About, CliError> {
        let mut copied = newest.map(|about| CopiedTo {
            model_version: about.model_version.clone(),
            seq: about.cursor,
            deleted_seq: about.cursor,
        });
        let (mut deleted, mut began) = (0, None::<String>);
        loop {
            let page = reader.product_states(copied.as_ref(), STEP).map_err(store)?;
            let version = &page.copied_to.model_version;
            if began.get_or_insert_with(|| version.clone()) != version {
                return Err(CliError::NothingDone("the model was switched meanwhile; run it again".into()));
            }
            for state in page.states {
                let item = ItemFeatures::new(state, version);
                deleted += u64::from(item.is_deleted());
                self.add(item)?;
            }
            copied = Some(page.copied_to);
            if !page.more {
                break;
            }
        }
        self.end_file()?;
        let copied = copied.unwrap_or(CopiedTo { model_version: String::new(), seq: 0, deleted_seq: 0 });
        let about = About {
            schema: FEATURES_SCHEMA.to_owned(),
            source: self.source,
            is_full: newest.is_none(),
            after: newest.map_or(0, |about| about.cursor),
            cursor: copied.seq,
            model_version: copied.model_version,
            rows: self.files.iter().map(|part| part.rows).sum(),
            deleted,
            files: self.files,
        };
        let path = self.dir.join(ABOUT);
        let file = File::create(&path).map_err(CliError::io("create", &path))?;
        serde_json::to_writer_pretty(&file, &about).map_err(|e| CliError::io("write", &path)(e.into()))?;
        file.sync_all().map_err(CliError::io("sync", &path))?;
        // Its names too, before it gets its own.
        File::open(self.dir).and_then(|dir| dir.sync_all()).map_err(CliError::io("sync", self.dir))?;
        Ok(about)
    }

    fn add(&mut self, item: ItemFeatures) -> Result<(), CliError> {
        self.group.push(item);
        if self.group.len() as u64 >= self.rows_per_file.min(ROW_GROUP as u64) {
            self.end_group()?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), CliError> {
        if self.group.is_empty() {
            return Ok(());
        }
        let fault = |error| CliError::Service(crate::service::ServiceError::Features(error));
        let writer = match &mut self.open {
            Some(writer) => writer,
            open => {
                let name = format!("part-{:05}.parquet", self.files.len());
                let path = self.dir.join(&name);
                let file = File::create(&path).map_err(CliError::io("create", &path))?;
                self.files.push(Part { name, rows: 0 });
                open.insert(FeaturesWriter::new(BufWriter::new(file), &self.source).map_err(fault)?)
            }
        };
        writer.write(&self.group).map_err(fault)?;
        let rows = self.group.len() as u64;
        self.group.clear();
        let full = self.files.last_mut().is_some_and(|part| {
            part.rows += rows;
            part.rows >= self.rows_per_file
        });
        if full { self.end_file() } else { Ok(()) }
    }

    fn end_file(&mut self) -> Result<(), CliError> {
        self.end_group()?;
        let Some(writer) = self.open.take() else { return Ok(()) };
        let file = writer.finish().map_err(|error| CliError::Service(error.into()))?;
        let file = file.into_inner().map_err(|error| CliError::io("write", self.dir)(error.into_error()))?;
        file.sync_all().map_err(CliError::io("sync", self.dir))
    }
}
