//! How many streams the board sustains.

use super::Page;
use super::paint::Look;
use crate::capacity::{conditions, sentence, table};
use clipmark_profile::summary::Profile;

/// Every capacity: a table over clip lengths, then a sentence each.
pub(super) fn write(page: &mut Page, profile: &Profile) {
    let Some(first) = profile.capacities.first() else { return };
    let table = table(profile);
    page.heading(&table.title);
    page.table(&table);
    for capacity in &profile.capacities {
        page.item("  ", "    ", &sentence(profile, capacity), Look::Normal);
    }
    page.item("  ", "  ", &conditions(first), Look::Faint);
}
