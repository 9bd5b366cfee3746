//! What pages of the fleet share, and one HTML file that needs nothing else.

use clipmark_report::STYLE;
use clipmark_report::format::utc;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::sync::LazyLock;

/// The report's style sheet, and what only these pages have.
pub(crate) fn style() -> &'static str {
    static SHEET: LazyLock<String> = LazyLock::new(|| format!("{STYLE}\n{}", include_str!("style.css")));
    &SHEET
}

/// Text as part of a query.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Nothing may be fetched, run or sent.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A page with `title` around `body`, which holds its own first heading.
pub(crate) fn self_contained(title: &str, made_unix_ms: u64, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content="clipmark-fleet";
                title { (title) " \u{b7} clipmark fleet" }
                style { (PreEscaped(style())) }
            }
            body {
                main.wide {
                    (body)
                    footer { "clipmark-fleet " (env!("CARGO_PKG_VERSION")) ", " (utc(made_unix_ms)) }
                }
            }
        }
    };
    page.into_string()
}
