//! The server under load: one of our own on an empty data folder, or one that runs already.

use crate::cli::CliError;
use crate::config::{ModelConfig, PhotoConfig, WorkConfig};
use clap::ValueEnum;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server; one of our own ends with it, and its data folder goes.
pub(super) struct Target {
    url: String,
    pid: Option<u32>,
    own: Option<(Child, PathBuf)>,
}

impl Target {
    /// One that runs already.
    pub(super) fn running(url: &str, pid: Option<u32>) -> Self {
        Self { url: url.to_owned(), pid, own: None }
    }

    /// Starts `vitrine serve` on a port and a folder of its own, and waits until it is ready.
    pub(super) fn start(
        scratch: Option<&Path>,
        model: &ModelConfig,
        work: &WorkConfig,
        photo: &PhotoConfig,
    ) -> Result<Self, CliError> {
        let program = std::env::current_exe().map_err(CliError::io("find", "the program itself"))?;
        let scratch = scratch.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let data = scratch.join(format!("vitrine-bench-{}", uuid::Uuid::new_v4()));
        let mut command = Command::new(&program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&data);
        command.env("VITRINE_LOG", "warn").env_remove("VITRINE_KEYS_FILE");
        for (name, value) in variables(model, work, photo) {
            command.env(name, value);
        }
        let started = command.stdout(Stdio::piped()).spawn();
        let mut child = started.map_err(CliError::io("start", program))?;
        let pid = child.id();
        let output = child.stdout.take();
        let mut own = Self { url: String::new(), pid: Some(pid), own: Some((child, data)) };
        let mut lines = output.map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok);
        let url =
            lines.find_map(|line| line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned));
        own.url = url.ok_or_else(|| CliError::Server("the server ended before it was ready".into()))?;
        Ok(own)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Resident memory in bytes, where the system tells it (Linux) and the process is known.
    pub(super) fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let Some((mut child, data)) = self.own.take() else { return };
        // It may have ended by itself; what it wrote is of no use to anybody.
        let _ = child.kill();
        let _ = child.wait();
        let _ = std::fs::remove_dir_all(data);
    }
}

/// The settings as the environment of a server has them.
fn variables(model: &ModelConfig, work: &WorkConfig, photo: &PhotoConfig) -> Vec<(&'static str, String)> {
    let word = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| value().map(|v| v.get_name().to_owned());
    let engine = word(&|| model.engine.to_possible_value());
    let providers = model.execution_providers.iter().filter_map(|p| word(&|| p.to_possible_value()));
    let mut set = vec![
        ("VITRINE_MODELS_DIR", Some(model.models_dir.display().to_string())),
        ("VITRINE_MODEL", Some(model.model.clone())),
        ("VITRINE_ENGINE", engine),
        ("VITRINE_PRECISION", model.precision.map(|p| p.to_string())),
        ("VITRINE_ONNXRUNTIME_LIB", model.onnxruntime_lib.as_ref().map(|path| path.display().to_string())),
        ("VITRINE_THREADS", work.threads.map(|n| n.to_string())),
        ("VITRINE_READ_THREADS", work.read_threads.map(|n| n.to_string())),
        ("VITRINE_INTERACTIVE_QUEUE", Some(work.interactive_queue.to_string())),
        ("VITRINE_BULK_QUEUE", Some(work.bulk_queue.to_string())),
        ("VITRINE_READ_QUEUE", Some(work.read_queue.to_string())),
        ("VITRINE_WRITE_QUEUE", Some(work.write_queue.to_string())),
        ("VITRINE_INTERACTIVE_WAIT_MS", Some(work.interactive_wait_ms.to_string())),
        ("VITRINE_BULK_WAIT_MS", Some(work.bulk_wait_ms.to_string())),
        ("VITRINE_PHOTO_NICE", Some(work.photo_nice.to_string())),
        ("VITRINE_MAX_BODY_BYTES", Some(photo.max_body_bytes.to_string())),
        ("VITRINE_MAX_PIXELS", Some(photo.max_pixels.to_string())),
        ("VITRINE_MAX_SIDE_PX", Some(photo.max_side_px.to_string())),
        ("VITRINE_MIN_SIDE_PX", Some(photo.min_side_px.to_string())),
        ("VITRINE_MAX_DECODE_BYTES", Some(photo.max_decode_bytes.to_string())),
        ("VITRINE_MAX_FRAMES", Some(photo.max_frames.to_string())),
    ];
    let providers = providers.collect::<Vec<_>>().join(",");
    set.push(("VITRINE_EXECUTION_PROVIDERS", Some(providers).filter(|p| !p.is_empty())));
    set.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command as Clap};

    /// A setting that is forgotten here would be measured with its default.
    #[test]
    fn every_setting_reaches_the_server() {
        let (mut model, mut work) = (ModelConfig::default(), WorkConfig::default());
        model.precision = Some(crate::model::Precision::F32);
        model.onnxruntime_lib = Some("lib".into());
        model.execution_providers = vec![crate::model::Provider::Cuda, crate::model::Provider::Tensorrt];
        work.threads = std::num::NonZeroUsize::new(3);
        work.read_threads = std::num::NonZeroUsize::new(3);
        let set = variables(&model, &work, &PhotoConfig::default());
        assert!(set.contains(&("VITRINE_EXECUTION_PROVIDERS", "cuda,tensorrt".into())));
        let command = PhotoConfig::augment_args(WorkConfig::augment_args(ModelConfig::augment_args(Clap::new("t"))));
        for arg in command.get_arguments() {
            let name = arg.get_env().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
            assert!(set.iter().any(|(n, _)| *n == name), "{name}");
        }
    }
}
