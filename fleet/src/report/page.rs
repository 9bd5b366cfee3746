//! One HTML file that needs nothing else.

use crate::dashboard::style;
use clipmark_report::format::utc;
use maud::{DOCTYPE, Markup, PreEscaped, html};

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
