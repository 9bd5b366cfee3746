//! What pages share: the frame, the navigation, the choice of a point, the marks for a board's state.

use crate::report::Focus;
use crate::report::at;
use clipmark_profile::axis::Axis;
use clipmark_profile::message::Availability;
use clipmark_report::words::clean;
use maud::{DOCTYPE, Markup, html};
use std::collections::BTreeSet;

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

/// The fields of a form in which a model and one of its points are chosen.
pub(super) fn point_fields(focus: &Focus) -> Markup {
    let sizes = |axis| focus.points.iter().filter_map(|point| point.get(axis)).collect::<BTreeSet<u32>>();
    let axes = Axis::SHAPE.into_iter().map(|axis| (axis, sizes(axis))).filter(|(_, sizes)| !sizes.is_empty());
    let chosen = |axis, size| focus.at.and_then(|at| at.get(axis)) == Some(size);
    html! {
        label { "Model" select name="model" { @for row in &focus.models {
            option value=(row.model) selected[focus.model.as_ref() == Some(&row.model)] { (clean(&row.model, 60)) }
        } } }
        @for (axis, sizes) in axes {
            label { (format!("{axis}, {}", axis.row().unit)) select name=(at::key(axis)) { @for size in sizes {
                option value=(size) selected[chosen(axis, size)] { (size) }
            } } }
        }
    }
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
