//! Reading README.md: which of its blocks are tested and how, what should be
//! printed, and what its tables say of keys.
//!
//! A block is tested if the line before it is a comment:
//!
//! | comment | the block |
//! |---|---|
//! | `<!-- test: GROUP -->` | commands; the blocks of a group share a shell |
//! | `<!-- test: GROUP, serves -->` | one command that runs until the group is over |
//! | `<!-- test: file PATH -->` | a file, for the group of the block before it |
//!
//! A `text` block right after commands is what they print, where `…` stands
//! for anything within a line, and alone on a line for any lines.

/// What is to be done with a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Run,
    Serve,
    /// Write the block to this path.
    File(String),
}

/// A block that is tested.
#[derive(Debug, Clone)]
pub struct Block {
    pub group: String,
    pub step: Step,
    pub text: String,
    /// What it should print; none if the document does not say.
    pub output: Option<String>,
    /// The line of its mark, from 1.
    pub line: usize,
}

/// The blocks of a document that are tested.
pub fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = document.lines().zip(1..).peekable();
    while let Some((line, number)) = lines.next() {
        let mark = line.strip_prefix("<!-- test: ");
        let Some(mark) = mark.and_then(|rest| rest.strip_suffix(" -->")) else {
            continue;
        };
        let fence = lines.next().map(|(line, _)| line);
        let opens = fence.is_some_and(|line| line.starts_with("```"));
        assert!(opens, "line {number}: a mark without a block");
        let text = fenced(&mut lines);
        let told = lines.next_if(|(line, _)| *line == "```text").is_some();
        let (group, step) = match (mark.strip_prefix("file "), mark.split_once(", ")) {
            (Some(path), _) => {
                let before = blocks.last().map(|block| block.group.clone());
                (before.unwrap_or_default(), Step::File(path.to_owned()))
            }
            (None, Some((group, "serves"))) => (group.to_owned(), Step::Serve),
            _ => (mark.to_owned(), Step::Run),
        };
        blocks.push(Block {
            group,
            step,
            text,
            output: told.then(|| fenced(&mut lines)),
            line: number,
        });
    }
    blocks
}

/// The lines up to the end of a block.
fn fenced<'d>(lines: &mut impl Iterator<Item = (&'d str, usize)>) -> String {
    let within = lines
        .map(|(line, _)| line)
        .take_while(|line| *line != "```");
    within.map(|line| format!("{line}\n")).collect()
}

/// Keys and defaults of the table whose first heading is `name`: the keys of a
/// row, and what stands in its second cell.
pub fn rows(document: &str, name: &str) -> Vec<(Vec<String>, String)> {
    let heading = format!("| {name}");
    let mut lines = document
        .lines()
        .skip_while(|line| !line.starts_with(&heading));
    let heading = lines.next();
    assert!(heading.is_some(), "no table of {name}");
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
            let keys = code(cells.next().unwrap_or_default());
            (keys, cells.next().unwrap_or_default().to_owned())
        })
        .collect()
}

/// What stands between backticks.
pub fn code(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Whether a text is what a document says that it is; if not, the first line
/// that is missing.
pub fn matches(expected: &str, got: &str) -> Result<(), String> {
    let plain = without_colours(got);
    let got: Vec<&str> = plain.trim_end().lines().collect();
    let expected: Vec<&str> = expected.trim_end().lines().collect();
    let mut missing = None;
    if lines_match(&expected, &got, &mut missing) {
        return Ok(());
    }
    let missing = missing.unwrap_or("nothing more");
    Err(format!(
        "expected:\n{missing}\nprinted:\n{}",
        got.join("\n")
    ))
}

fn lines_match<'e>(expected: &[&'e str], got: &[&str], missing: &mut Option<&'e str>) -> bool {
    let Some((first, rest)) = expected.split_first() else {
        return got.is_empty();
    };
    if *first == "…" {
        return (0..=got.len()).any(|n| lines_match(rest, &got[n..], missing));
    }
    match got.split_first() {
        Some((line, others)) if line_matches(first, line) => lines_match(rest, others, missing),
        _ => {
            *missing = Some(first);
            false
        }
    }
}

fn line_matches(expected: &str, got: &str) -> bool {
    let mut pieces = expected.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = got.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        if let Some(piece) = last.replace(piece) {
            let Some(at) = rest.find(piece) else {
                return false;
            };
            rest = &rest[at + piece.len()..];
        }
    }
    last.map_or(rest.is_empty(), |piece| rest.ends_with(piece))
}

/// A text without the escape sequences that colour it.
fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or(piece, |(_, rest)| rest));
    }
    plain
}

#[test]
fn an_ellipsis_stands_for_anything() {
    let same = [
        ("a\nb", "a\nb\n"),
        ("…", ""),
        ("a…c", "abc"),
        ("a…c…e", "abcde"),
        ("…\nb", "x\ny\nb"),
        ("a\n…\nb", "a\nb"),
        ("… INFO", "\u{1b}[2m12:00\u{1b}[0m INFO"),
    ];
    for (expected, got) in same {
        assert_eq!(matches(expected, got), Ok(()), "{expected:?} {got:?}");
    }
    let other = [
        ("a", "b"),
        ("a", "a\nb"),
        ("a\nb", "a"),
        ("a…c", "ab"),
        ("a…c", "a\nc"),
        ("ab…bc", "abc"),
        ("…\nb", "x\ny"),
    ];
    for (expected, got) in other {
        assert!(matches(expected, got).is_err(), "{expected:?} {got:?}");
    }
}

#[test]
fn blocks_are_found_by_their_marks() {
    let document = "x\n```sh\nno\n```\n<!-- test: g, serves -->\n```sh\ncargo run\n```\n```text\n…\n```\n\
                    <!-- test: file a/b -->\n```toml\nk = 1\n```\n<!-- test: g -->\n```sh\none\ntwo\n```\n";
    let found: Vec<_> = blocks(document)
        .into_iter()
        .map(|b| (b.group, b.step, b.text, b.output))
        .collect();
    let g = || "g".to_owned();
    let expected = [
        (
            g(),
            Step::Serve,
            "cargo run\n".to_owned(),
            Some("…\n".to_owned()),
        ),
        (
            g(),
            Step::File("a/b".to_owned()),
            "k = 1\n".to_owned(),
            None,
        ),
        (g(), Step::Run, "one\ntwo\n".to_owned(), None),
    ];
    assert_eq!(found, expected);
}
