//! All boards at a glance.

use super::layout::{frame, pill};
use super::{PageError, Site, page};
use crate::report::encoded;
use crate::store::{Counts, DeviceQuery, DeviceRow, RefusalRow};
use axum::extract::{Query, State};
use axum::response::Html;
use clipmark_profile::message::Availability;
use clipmark_report::format::{age, thousands};
use clipmark_report::words::clean;
use clipmark_service::clock::unix_ms;
use maud::{Markup, html};
use serde::Deserialize;

/// Refusals that are listed.
const REFUSALS: u32 = 20;

/// Longest part of a board's name that is searched for.
const MOST_BOARD: usize = 200;

/// Boards on one page.
const ROWS: u32 = 100;

/// Which boards.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    state: String,
    board: String,
    after: String,
}

impl Filter {
    /// # Errors
    /// A filter that no board can match.
    fn query(&self) -> Result<DeviceQuery, PageError> {
        if self.board.chars().count() > MOST_BOARD {
            let why = format!("Board model: at most {MOST_BOARD} characters; no board's name is longer.");
            return Err(PageError::Refused(why));
        }
        let availability = match self.state.as_str() {
            "online" => Some(Availability::Online),
            "busy" => Some(Availability::Busy),
            "offline" => Some(Availability::Offline),
            _ => None,
        };
        Ok(DeviceQuery {
            board: Some(self.board.clone()).filter(|board| !board.is_empty()),
            availability,
            after: self.after.parse().ok(),
            limit: ROWS + 1,
            ..DeviceQuery::default()
        })
    }
}

/// The page.
pub(super) async fn show(
    State(site): State<Site>,
    Query(filter): Query<Filter>,
) -> Result<Html<String>, PageError> {
    let query = filter.query()?;
    let found =
        site.read(move |store| Ok((store.counts()?, store.devices(&query)?, store.refusals(REFUSALS)?)));
    let (counts, mut devices, refusals) = found.await?;
    let next = (devices.len() > ROWS as usize).then(|| {
        devices.truncate(ROWS as usize);
        devices.last().map(|row| row.device.to_string()).unwrap_or_default()
    });
    let body = html! {
        h1 { "Fleet" }
        (tiles(&counts))
        (refused(&refusals))
        (form(&filter))
        p #news hidden { "New results were stored. " a href="" { "Show them" } }
        @if devices.is_empty() {
            p { "No board matches. A board appears here once its clipmarkd has connected to the broker." }
        } @else {
            div.scroll role="region" aria-label="Boards" tabindex="0" { (table(&devices)) }
        }
        @if let Some(next) = next {
            p { a href=(format!("/?state={}&board={}&after={next}", encoded(&filter.state), encoded(&filter.board))) { "Next boards" } }
        }
    };
    Ok(page(frame("/", "Fleet", body)))
}

fn tiles(counts: &Counts) -> Markup {
    // Whether a board throttles is known only where it was soaked.
    let (throttled, of) = match counts.soaked {
        0 => (None, "throttled: not known, none was soaked in its last run".into()),
        soaked => (
            Some(counts.throttled),
            format!("throttled in their last run, of {} soaked", thousands(soaked.into())),
        ),
    };
    let tiles = [
        (Some(counts.devices), "boards", false),
        (Some(counts.online), "online", false),
        (Some(counts.busy), "measuring", false),
        (Some(counts.offline), "offline", false),
        (throttled, of.as_str(), counts.throttled > 0),
        (Some(counts.profiles), "profiles stored", false),
        (Some(counts.poison), "messages set aside", counts.poison > 0),
    ];
    let conflicts = (counts.conflicts > 0).then_some((
        Some(counts.conflicts),
        "epochs with two contents under one sequence: a disk set back, or a copied card",
        true,
    ));
    html! {
        div.tiles {
            @for (count, name, alarm) in tiles.into_iter().chain(conflicts) {
                div class=(if alarm { "tile alarm" } else { "tile" }) {
                    b { (count.map_or("\u{2014}".into(), |count| thousands(count.into()))) } span { (name) }
                }
            }
        }
    }
}

/// The boards that exceed their bounds, where there are any.
pub(super) fn refused(refusals: &[RefusalRow]) -> Markup {
    let now = unix_ms();
    html! {
        @if !refusals.is_empty() {
            section #refused aria-label="Refused" {
                h2 { "Refused" }
                p { "These exceed what one board may take. What was refused of their records is still on the boards." }
                ul {
                    @for row in refusals {
                        li {
                            @if row.device.is_empty() { "A client that names no board" }
                            @else { a href=(format!("/device/{}", row.device)) { (row.device) } }
                            " " (row.excess.words()) ": " (thousands(row.refused.messages.into()))
                            " messages refused, last " (age(now.saturating_sub(row.last_unix_ms))) " ago"
                        }
                    }
                }
            }
        }
    }
}

fn form(filter: &Filter) -> Markup {
    html! {
        form.filter method="get" action="/" {
            label { "State"
                select name="state" {
                    @for state in ["", "online", "busy", "offline"] {
                        option value=(state) selected[filter.state == state] {
                            @if state.is_empty() { "any" } @else { (state) }
                        }
                    }
                }
            }
            label { "Board model" input name="board" value=(filter.board) placeholder="any"; }
            button.go { "Show" }
        }
    }
}

fn table(devices: &[DeviceRow]) -> Markup {
    let now = unix_ms();
    html! {
        table.ruled.fleet {
            thead { tr {
                th scope="col" { "device" } th scope="col" { "state" } th scope="col" { "board" }
                th scope="col" { "L4T" } th scope="col" { "power mode" } th scope="col" { "now" }
                th scope="col" { "last profile" }
            } }
            tbody { @for row in devices { (device(row, now)) } }
        }
    }
}

fn device(row: &DeviceRow, now: u64) -> Markup {
    let known = |value: &Option<String>| value.as_ref().map_or("\u{2014}".into(), |text| clean(text, 60));
    html! {
        tr data-device=(row.device) {
            th scope="row" { a href=(format!("/device/{}", row.device)) { (row.device) } }
            td { (pill(row.state.as_ref().map(|state| state.state))) }
            td { (known(&row.board)) }
            td { (known(&row.l4t)) }
            td { (known(&row.power_mode)) }
            td.now {}
            td {
                @match &row.last_profile {
                    None => "none yet",
                    Some(last) => {
                        (age(now.saturating_sub(last.received_unix_ms))) " ago "
                        @if last.throttled == Some(true) { span.tag.alarm { "throttled" } }
                        @if last.partial { span.tag { "partial" } }
                        @if last.simulated { span.tag { "simulated" } }
                    }
                }
            }
        }
    }
}
