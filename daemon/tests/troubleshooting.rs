//! docs/troubleshooting.md quotes messages: each of them is held against the literals of the code, so that a
//! search for a message ends on that page.

use std::path::{Path, PathBuf};

/// Stands for what differs from message to message.
const VARIES: char = '\u{2026}';

/// Folders with the code whose messages the page quotes.
const CODE: [&str; 6] =
    ["daemon/src", "daemon/service/src", "daemon/trt/src", "probes/src", "profile/src", "fleet/src"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file below `folder`.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("the folder exists");
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The string literals of `code`, with [`VARIES`] for each placeholder.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code.chars().peekable();
    let mut before = ' ';
    while let Some(character) = rest.next() {
        match character {
            '/' if rest.peek() == Some(&'/') => while rest.next_if(|next| *next != '\n').is_some() {},
            '\'' if rest.peek() == Some(&'"') => {
                rest.next();
            }
            '"' if before != '\\' => found.push(with_gaps(&literal(&mut rest))),
            _ => {}
        }
        before = character;
    }
    found
}

/// The literal whose opening quote was read, unescaped.
fn literal(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(character) = rest.next() {
        match character {
            '"' => break,
            '\\' => match rest.next() {
                Some('\n') => while rest.next_if(|next| next.is_whitespace()).is_some() {},
                Some('n') => text.push('\n'),
                Some('u') => {
                    rest.next_if_eq(&'{');
                    let digits: String =
                        std::iter::from_fn(|| rest.next_if(char::is_ascii_hexdigit)).collect();
                    rest.next_if_eq(&'}');
                    text.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
                }
                other => text.extend(other),
            },
            other => text.push(other),
        }
    }
    text
}

/// `text` with [`VARIES`] in place of each `{placeholder}`.
fn with_gaps(text: &str) -> String {
    let mut gapped = String::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '{' if rest.next_if_eq(&'{').is_some() => gapped.push('{'),
            '}' if rest.next_if_eq(&'}').is_some() => gapped.push('}'),
            '{' => {
                rest.by_ref().find(|inner| *inner == '}');
                gapped.push(VARIES);
            }
            other => gapped.push(other),
        }
    }
    gapped
}

/// The messages of the page: the first cell of every row, without its code marks.
fn quoted(page: &str) -> Vec<String> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    cells.map(|(message, _)| message.to_owned()).collect()
}

/// Whether `literal` holds `message` as a whole; at an end of it, what differs may be the rest of the literal.
fn holds(literal: &str, message: &str) -> bool {
    literal.contains(message.trim_matches(|end| end == VARIES))
}

#[test]
fn every_quoted_message_is_a_message_of_the_code() {
    let mut files = Vec::new();
    CODE.iter().for_each(|folder| sources(&root().join(folder), &mut files));
    let code = files.iter().map(|file| std::fs::read_to_string(file).expect("readable"));
    let literals: Vec<String> = code.flat_map(|code| literals(&code)).collect();
    let page = std::fs::read_to_string(root().join("docs/troubleshooting.md")).expect("the page");
    let messages = quoted(&page);
    assert!(messages.len() > 30, "{} rows were found", messages.len());
    let lost: Vec<&String> =
        messages.iter().filter(|message| !literals.iter().any(|literal| holds(literal, message))).collect();
    assert!(lost.is_empty(), "no literal in the code holds these messages: {lost:#?}");
}

#[test]
fn a_message_that_is_changed_is_not_found_any_more() {
    let code = r#"#[error("cannot keep {limit} \u{b0}C: {cause}; \
                   choose another")] // "a remark" """#;
    let literals = literals(code);
    assert_eq!(literals, ["cannot keep \u{2026} \u{b0}C: \u{2026}; choose another"]);
    assert!(holds(&literals[0], "cannot keep \u{2026} \u{b0}C: \u{2026}"));
    assert!(!holds(&literals[0], "cannot hold \u{2026} \u{b0}C: \u{2026}"));
    assert!(!holds(&literals[0], "cannot keep \u{b0}C"));
}

#[test]
fn every_row_has_a_message_a_cause_and_a_fix() {
    let page = std::fs::read_to_string(root().join("docs/troubleshooting.md")).expect("the page");
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| message")) {
        let (_, rest) = row.split_once("` |").expect("a message in code marks");
        let cells: Vec<&str> = rest.trim_end_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 2 && cells.iter().all(|cell| cell.len() > 4), "{row}");
    }
}
