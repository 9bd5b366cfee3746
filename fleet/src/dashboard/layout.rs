//! What all pages share: the frame, the navigation, the marks for a board's state.

use clipmark_profile::message::Availability;
use clipmark_report::STYLE;
use maud::{DOCTYPE, Markup, html};
use std::sync::LazyLock;

/// The report's style sheet, and what only these pages have.
pub(crate) fn style() -> &'static str {
    static SHEET: LazyLock<String> = LazyLock::new(|| format!("{STYLE}\n{}", include_str!("style.css")));
    &SHEET
}

/// The pages in the navigation: address and name.
const PAGES: [(&str, &str); 4] =
    [("/", "Fleet"), ("/compare", "Compare"), ("/trends", "Trends"), ("/measure", "Measure")];

/// A whole page. `here` is the address of the page in the navigation that it belongs to.
pub(super) fn frame(here: &str, title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " \u{b7} clipmark fleet" }
                link rel="stylesheet" href="/style.css";
                script src="/app.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.bar {
                    a.home href="/" { b { "clipmark" } " fleet" }
                    nav aria-label="Pages" {
                        @for (address, name) in PAGES {
                            a href=(address) aria-current=[(address == here).then_some("page")] { (name) }
                        }
                    }
                }
                main #main.wide {
                    p #trouble .banner role="alert" hidden {}
                    (body)
                }
            }
        }
    }
}

/// A page with one sentence.
pub(super) fn message(text: &str) -> Markup {
    frame("", "Not available", html! { h1 { "Not available" } p { (text) } })
}

/// A state in a word, and the class that colours it.
pub(super) const fn availability(state: Option<Availability>) -> (&'static str, &'static str) {
    match state {
        Some(Availability::Online) => ("online", "online"),
        Some(Availability::Busy) => ("busy", "busy"),
        Some(Availability::Offline) => ("offline", "offline"),
        None => ("unknown", "unknown"),
    }
}

/// A state as a pill.
pub(super) fn pill(state: Option<Availability>) -> Markup {
    let (word, class) = availability(state);
    html! { span class=(format!("pill {class}")) { (word) } }
}
