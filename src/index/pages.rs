//! Memory of huge pages, for what walks go all over: in pages of 4 KiB nearly each step is one that the processor has not looked
//! up of late. Only where the system has them for who asks, and only of memory that is free: what is mapped can be dropped and
//! read again when memory is short, this cannot.

use memmap2::{Advice, MmapMut};
use std::fs::{self, File};
use std::path::Path;
use std::sync::LazyLock;

/// What is taken at most is one part in this of what is free.
const SHARE: u64 = 2;

/// The first `bytes` of `file`; `None` without huge pages, or with too little memory.
pub(super) fn read(file: &File, bytes: usize) -> Option<MmapMut> {
    static ON_REQUEST: LazyLock<bool> = LazyLock::new(|| {
        let choice = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
        choice.contains("[madvise]") || choice.contains("[always]")
    });
    if bytes == 0 || !*ON_REQUEST || bytes as u64 > available().unwrap_or(0) / SHARE {
        return None;
    }
    let mut memory = MmapMut::map_anon(bytes).ok()?;
    #[cfg(target_os = "linux")]
    let _ = memory.advise(Advice::HugePage);
    super::segment::read_at(file, &mut memory, 0).ok()?;
    Some(memory)
}

/// Bytes that this process may still take, as Linux says: of the machine, and of each control group (version 2) it is in.
fn available() -> Option<u64> {
    let machine = field(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")? * 1024;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let left = Path::new(own).ancestors().filter_map(|group| left(&Path::new("/sys/fs/cgroup").join(group)));
    Some(left.fold(machine, u64::min))
}

/// What a control group has left of its limit; what it holds of files can be dropped. `None` without a limit.
fn left(group: &Path) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let files = ["inactive_file", "active_file"].into_iter().filter_map(|name| field(&stat, name)).sum();
    Some(number("memory.max")?.saturating_sub(number("memory.current")?.saturating_sub(files)))
}

/// The number after `name`, at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut words = text.lines().map(str::split_whitespace);
    words.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()?.parse().ok()).flatten())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_left_what_its_limit_leaves() {
        let group = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(group.path().join(name), text).unwrap();
        assert_eq!(left(group.path()), None, "nothing says a limit");
        write("memory.current", "700\n");
        write("memory.stat", "anon 300\nfile 400\ninactive_file 150\nactive_file 50\nfile_mapped 9\n");
        write("memory.max", "max\n");
        assert_eq!(left(group.path()), None, "none is set");
        write("memory.max", "1000\n");
        assert_eq!(left(group.path()), Some(500));
        write("memory.max", "400\n");
        assert_eq!(left(group.path()), Some(0), "more is held than may be");
    }

    #[test]
    fn numbers_are_found_by_their_name() {
        let text = "MemTotal:       24000 kB\nMemAvailable:   12345 kB\nMemAvailableX: 9 kB\nHuge:\n";
        assert_eq!(field(text, "MemAvailable:"), Some(12_345));
        assert_eq!((field(text, "Huge:"), field(text, "Mem")), (None, None));
        assert!(!cfg!(target_os = "linux") || available().unwrap() > 0);
    }
}
