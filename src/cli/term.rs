//! What the terminal shows: color swatches where it can, plain text elsewhere, and aligned tables.

use std::fmt::Write as _;
use std::io::IsTerminal;

/// Whether and how to color.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    colors: bool,
}

impl Paint {
    /// Colors when standard output is a terminal that can, and `NO_COLOR` (no-color.org) is not set.
    pub(super) fn stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        Self { colors: std::io::stdout().is_terminal() && !refused && !dumb }
    }

    /// A block in the color `#rrggbb`; nothing where colors are off or the text is no color.
    pub(super) fn swatch(self, hex: &str) -> String {
        match rgb(hex) {
            Some([r, g, b]) if self.colors => format!("\x1b[48;2;{r};{g};{b}m    \x1b[0m "),
            _ => String::new(),
        }
    }

    /// Bold where possible.
    pub(super) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// Faint where possible.
    pub(super) fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.colors { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// `#rrggbb` as bytes.
pub(super) fn rgb(hex: &str) -> Option<[u8; 3]> {
    let digits = hex.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let channel = |i: usize| u8::from_str_radix(&digits[i..i + 2], 16).ok();
    Some([channel(0)?, channel(2)?, channel(4)?])
}

/// Text of a foreign source without control characters, so that a file name or a label cannot steer the terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Rows of cells under a head, columns padded to their widest cell; cells that are all numbers stand to the right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let cell = |row: &[String], c: usize| row.get(c).cloned().unwrap_or_default();
    let width = |c: usize| rows.iter().map(|r| cell(r, c).chars().count()).chain([head[c].len()]).max().unwrap_or(0);
    let numeric = |c: usize| {
        let numbers = |t: &String| t.is_empty() || t == "-" || t.trim_end_matches(" %").parse::<f64>().is_ok();
        !rows.is_empty() && rows.iter().all(|r| numbers(&cell(r, c)))
    };
    let columns: Vec<(usize, bool)> = (0..head.len()).map(|c| (width(c), numeric(c))).collect();
    let mut out = String::new();
    let heads: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::new();
        for (c, (width, right)) in columns.iter().enumerate() {
            let text = cell(row, c);
            // Writing to a String cannot fail.
            let _ = if *right { write!(line, "{text:>width$}  ") } else { write!(line, "{text:<width$}  ") };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_read_and_nonsense_is_not() {
        assert_eq!(rgb("#0a80ff"), Some([10, 128, 255]));
        for bad in ["", "#", "0a80ff", "#0a80f", "#0a80fg", "#éééb", "#+1+1+1"] {
            assert_eq!(rgb(bad), None, "{bad}");
        }
        let paint = Paint { colors: true };
        assert_eq!(paint.swatch("#010203"), "\x1b[48;2;1;2;3m    \x1b[0m ");
        assert_eq!(Paint { colors: false }.swatch("#010203"), "");
    }

    #[test]
    fn terminals_are_not_steered() {
        assert_eq!(clean("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn tables_align() {
        let rows = vec![vec!["a".into(), "1.5".into()], vec!["bcd".into(), "10".into()]];
        assert_eq!(table(&["name", "n"], &rows), "name    n\na     1.5\nbcd    10\n");
    }
}
