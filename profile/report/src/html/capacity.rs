//! How many streams the board sustains: the curve over clip lengths, the figures, and what waited.

use super::{figure, table};
use crate::capacity::{self, conditions, sentence, what};
use crate::svg;
use clipmark_profile::summary::Profile;
use maud::{Markup, html};

/// The section; `None` where no streams were offered.
pub(super) fn section(profile: &Profile) -> Option<Markup> {
    let first = profile.capacities.first()?;
    Some(html! {
        @if let Some(plot) = svg::capacity(profile) {
            (figure("Sustained streams over clip length; rings: the fewest that are not sustained", plot))
        }
        (table::plain(&capacity::table(profile)))
        @for capacity in &profile.capacities { p { (sentence(profile, capacity)) } }
        p.note { (conditions(first)) "." }
        @for capacity in &profile.capacities {
            @if let Some(plot) = svg::waiting(capacity) {
                (figure(&format!("Waiting clips, clips of {}, {}", capacity.id.shape.clip(), what(profile, capacity)), plot))
            }
        }
    })
}
