//! Finding ONNX Runtime's library: where it was said to be, else where systems and Python keep it. Nothing is linked and
//! nothing downloaded; without the library the embedded engine runs.

use ort::environment::{Environment, EnvironmentBuilder};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A loaded library; it stays for the life of the process.
#[derive(Debug)]
pub(in crate::model) struct Runtime {
    pub(super) environment: Environment,
    /// Such as `1.32.0`.
    pub(super) version: String,
}

/// Held while a library is being loaded: a process has one, and the binding keeps the first that was opened.
static LOADING: Mutex<()> = Mutex::new(());

/// Loads the library at `path`, or the first found that can be opened. Once one is, `path` is not looked at again.
///
/// # Errors
/// With what was tried, in words.
pub(in crate::model) fn load(path: Option<&Path>) -> Result<&'static Runtime, String> {
    static LOADED: OnceLock<Runtime> = OnceLock::new();
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = LOADED.get() {
        return Ok(runtime);
    }
    let found = path.map_or_else(candidates, |path| vec![path.to_owned()]);
    let mut faults = Vec::new();
    for path in &found {
        match open(path) {
            Ok(builder) => {
                let runtime = start(builder, path).map_err(|e| format!("{}: {e}", path.display()))?;
                return Ok(LOADED.get_or_init(|| runtime));
            }
            Err(fault) => faults.push(fault),
        }
    }
    let none = "no library of ONNX Runtime found (VITRINE_ONNXRUNTIME_LIB says where one is)";
    Err(if faults.is_empty() { none.to_owned() } else { faults.join("; ") })
}

fn open(path: &Path) -> Result<EnvironmentBuilder, String> {
    let fault = |detail: String| format!("{}: {detail}", path.display());
    // A folder would be handed to the linker, whose words for it help nobody.
    let Ok(whole) = path.canonicalize() else { return Err(fault("no such file".into())) };
    if !whole.is_file() {
        return Err(fault("not a file".into()));
    }
    ort::init_from(&whole).map_err(|e| fault(e.to_string()))
}

fn start(builder: EnvironmentBuilder, path: &Path) -> ort::Result<Runtime> {
    let environment = builder.with_telemetry(false).with_logger(Arc::new(log)).build()?;
    // Else each run would put down its every step, for a log that is not kept.
    environment.set_log_level(ort::logging::LogLevel::Warning);
    let version = version(&path.canonicalize().unwrap_or_else(|_| path.to_owned()));
    tracing::info!(path = %path.display(), version, "ONNX Runtime loaded");
    Ok(Runtime { environment, version })
}

/// Version of the library in the file `path`: from its name, as system and pip write it, or from what it says of its build.
fn version(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_end_matches(|c: char| !c.is_ascii_digit());
    if !digits.is_empty() {
        return digits.to_owned();
    }
    // `ORT Build Info: git-branch=rel-1.32.0, git-commit-id=..., ...`
    let branch = ort::info().split_once("git-branch=").map_or("", |(_, rest)| rest);
    branch.split([',', ' ']).next().unwrap_or_default().to_owned()
}

/// ONNX Runtime's log in ours. Its warnings are about graphs and kernels, for engineers: a bundle that is wrong fails
/// its golden cases.
fn log(level: ort::logging::LogLevel, category: &str, _id: &str, _place: &str, message: &str) {
    use ort::logging::LogLevel as Level;
    match level {
        Level::Error | Level::Fatal => tracing::error!(category, "ONNX Runtime: {message}"),
        Level::Warning => tracing::debug!(category, "ONNX Runtime: {message}"),
        _ => tracing::trace!(category, "ONNX Runtime: {message}"),
    }
}

/// Files that look like the library, the likeliest first.
fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders() {
        found.extend(libraries(&folder));
    }
    found
}

/// The library in `folder` under any of its names, the one with the most exact version first.
fn libraries(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_it = if cfg!(windows) {
            name == "onnxruntime.dll"
        } else if cfg!(target_os = "macos") {
            name.starts_with("libonnxruntime.") && name.ends_with(".dylib")
        } else {
            name == "libonnxruntime.so" || name.starts_with("libonnxruntime.so.")
        };
        if is_it {
            found.push(entry.path());
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    found
}

/// Where to look: beside the program, the linker's folders, the system's, Python's.
fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(own) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        folders.extend([own.to_owned(), own.join("../lib")]);
    }
    for variable in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
        folders.extend(std::env::var_os(variable).iter().flat_map(std::env::split_paths).filter(|p| p.is_absolute()));
    }
    let machine = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let system = ["/usr/local/lib", "/usr/lib", &machine, "/usr/lib64", "/opt/onnxruntime/lib", "/opt/homebrew/lib"];
    folders.extend(system.map(PathBuf::from));
    let mut prefixes = Vec::new();
    prefixes.extend(std::env::var_os("VIRTUAL_ENV").map(PathBuf::from));
    prefixes.extend(std::env::var_os("CONDA_PREFIX").map(PathBuf::from));
    prefixes.extend(std::env::home_dir().map(|home| home.join(".local")));
    prefixes.extend(["/usr/local", "/usr"].map(PathBuf::from));
    folders.extend(prefixes.iter().flat_map(|prefix| packages(prefix)));
    folders
}

/// The folders below `prefix` where pip puts the library.
fn packages(prefix: &Path) -> Vec<PathBuf> {
    let lib = prefix.join("lib");
    let pythons = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let mut pythons: Vec<_> =
        pythons.filter(|entry| entry.file_name().to_string_lossy().starts_with("python3")).map(|e| e.path()).collect();
    pythons.sort();
    let places = pythons.iter().rev().flat_map(|python| ["site-packages", "dist-packages"].map(|p| python.join(p)));
    places.map(|place| place.join("onnxruntime/capi")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_library_is_found_where_pip_puts_it() {
        let prefix = tempfile::tempdir().unwrap();
        let capi = prefix.path().join("lib/python3.11/site-packages/onnxruntime/capi");
        std::fs::create_dir_all(&capi).unwrap();
        let name = if cfg!(windows) {
            "onnxruntime.dll"
        } else if cfg!(target_os = "macos") {
            "libonnxruntime.1.32.0.dylib"
        } else {
            "libonnxruntime.so.1.32.0"
        };
        std::fs::write(capi.join(name), b"").unwrap();
        std::fs::write(capi.join("libonnxruntime_providers_shared.so"), b"").unwrap();
        let found: Vec<_> = packages(prefix.path()).iter().flat_map(|folder| libraries(folder)).collect();
        assert_eq!(found, [capi.join(name)]);
    }

    #[test]
    fn what_is_no_library_is_named() {
        let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let missing = open(&dir.path().join("libonnxruntime.so")).err().unwrap();
        assert!(missing.contains("libonnxruntime.so: no such file"), "{missing}");
        let text = dir.path().join("text.so");
        std::fs::write(&text, b"not a library").unwrap();
        // Where another test has loaded the library already, the binding does not look at a second.
        assert!(open(&text).err().is_none_or(|fault| fault.contains("text.so")));
    }
}
