//! One board: what it is, its newest or a chosen profile, its earlier runs.

use super::fleet::refused;
use super::layout::{frame, pill};
use super::{PageError, Site, page};
use crate::store::{
    ConflictRow, DeviceQuery, DeviceRow, ProfileId, ProfileQuery, ProfileRow, RefusalRow, Store,
};
use axum::extract::{Path, Query, State};
use axum::response::Html;
use clipmark_profile::series::Series;
use clipmark_profile::summary::Profile;
use clipmark_profile::topics::DeviceId;
use clipmark_profile::wire::{decode_profile, decode_series};
use clipmark_report::format::{age, clock_span, utc};
use clipmark_report::sections;
use clipmark_report::words::clean;
use clipmark_service::clock::unix_ms;
use maud::{Markup, html};
use serde::Deserialize;

/// Runs that are listed.
const RUNS: u32 = 20;

/// The parts of a report that stand on this page.
const PARTS: [&str; 8] =
    ["operating-points", "drift", "grid", "soak", "distributions", "percentiles", "energy", "warnings"];

/// Which of its profiles.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Which {
    profile: Option<i64>,
}

struct Found {
    row: DeviceRow,
    refusals: Vec<RefusalRow>,
    runs: Vec<ProfileRow>,
    conflicts: Vec<ConflictRow>,
    shown: Option<Shown>,
}

/// A run with its content, as far as it is left.
struct Shown {
    run: ProfileRow,
    content: Option<(Profile, Vec<Series>)>,
}

/// The page.
pub(super) async fn show(
    State(site): State<Site>,
    Path(device): Path<String>,
    Query(which): Query<Which>,
) -> Result<Html<String>, PageError> {
    let id: DeviceId = device.parse().map_err(|_| PageError::Missing("such device name".into()))?;
    let found = site.read(move |store| find(store, &id, which.profile)).await?;
    let row = &found.row;
    let body = html! {
        h1 { (row.device) }
        ul.facts data-device=(row.device) {
            li { (pill(row.state.as_ref().map(|state| state.state))) }
            @for fact in [&row.board, &row.l4t.as_ref().map(|l4t| format!("L4T {l4t}")), &row.power_mode, &row.clipmark.as_ref().map(|v| format!("clipmark {v}"))].into_iter().flatten() {
                li { (clean(fact, 80)) }
            }
            li { "heard of " (age(unix_ms().saturating_sub(row.seen_unix_ms))) " ago" }
            li.now {}
        }
        p #news hidden { "New results were stored. " a href="" { "Show them" } }
        (refused(&found.refusals))
        (conflicts(&found))
        (shown(&found))
        (runs(&found))
    };
    Ok(page(frame("/", row.device.as_str(), body)))
}

fn find(store: &mut Store, id: &DeviceId, wanted: Option<i64>) -> Result<Found, PageError> {
    let query = DeviceQuery { device: Some(id.clone()), limit: 1, ..DeviceQuery::default() };
    let row = store.devices(&query)?.pop();
    let row = row.ok_or_else(|| PageError::Missing(format!("device {id}")))?;
    let query = ProfileQuery { device: Some(id.clone()), limit: RUNS, ..ProfileQuery::default() };
    let runs = store.profiles(&query)?;
    let chosen = match wanted {
        None => runs.first().cloned(),
        Some(number) => {
            let query = ProfileQuery {
                id: Some(ProfileId(number)),
                device: Some(id.clone()),
                limit: 1,
                ..ProfileQuery::default()
            };
            let found = store.profiles(&query)?.pop();
            Some(found.ok_or_else(|| PageError::Missing(format!("profile {number} of {id}")))?)
        }
    };
    let shown = match chosen {
        None => None,
        Some(run) => {
            let profile = store.profile_bytes(run.id)?.and_then(|bytes| decode_profile(&bytes).ok());
            let series = match &profile {
                Some(profile) => series(store, id, &profile.run.id)?,
                None => Vec::new(),
            };
            Some(Shown { run, content: profile.map(|profile| (profile, series)) })
        }
    };
    let mut refusals = store.refusals(u32::MAX)?;
    refusals.retain(|refusal| refusal.device == row.device.as_str());
    let conflicts = store.conflicts(id)?;
    Ok(Found { row, refusals, runs, conflicts, shown })
}

fn series(store: &mut Store, id: &DeviceId, run: &str) -> Result<Vec<Series>, PageError> {
    let mut found = Vec::new();
    for row in store.series(id, Some(run), 16)? {
        let bytes = store.series_bytes(row.id)?;
        found.extend(bytes.and_then(|bytes| decode_series(&bytes).ok()));
    }
    Ok(found)
}

fn shown(found: &Found) -> Markup {
    let Some(Shown { run, content }) = &found.shown else {
        return html! { p { "It has sent no profile yet." } };
    };
    html! {
        p.note {
            "Run of " (utc(run.started_unix_ms)) ", " (clock_span(run.duration_ms)) ", " (run.measured) " of "
            (run.points) " points measured. "
            @if run.simulated { span.tag { "simulated" } }
            @if run.partial { span.tag { "partial" } }
            @if run.throttled == Some(true) { span.tag.alarm { "throttled" } }
        }
        @match content {
            None => p { "Its details were dropped by retention or cannot be read; its points are kept for comparisons." },
            Some((profile, series)) => {
                @for section in sections(profile, series).iter().filter(|section| PARTS.contains(&section.id)) {
                    section id=(section.id) aria-label=(section.title) { h2 { (section.title) } (section.body) }
                }
            }
        }
    }
}

/// Which records came with two contents.
fn conflicts(found: &Found) -> Markup {
    html! {
        @for ConflictRow { epoch, sequence, times } in &found.conflicts {
            p.alarm {
                "From record " (sequence) " of epoch " (epoch) " on, records came with another content than is stored ("
                (times) " so far). The board's disk was set back, or another board works with a copy of it. The board "
                "sends its records again under a new epoch; what came meanwhile is set aside."
            }
        }
    }
}

fn runs(found: &Found) -> Markup {
    html! {
        h2 { "Runs" }
        table.ruled.fleet {
            thead { tr {
                th scope="col" { "received" } th scope="col" { "mode" } th scope="col" { "L4T" }
                th scope="col" { "power mode" } th scope="col" { "points" } th scope="col" { "remarks" }
            } }
            tbody {
                @for run in &found.runs {
                    tr {
                        th scope="row" { a href=(format!("?profile={}", run.id.0)) { (utc(run.received_unix_ms)) } }
                        td { (clean(&run.mode, 20)) }
                        td { (run.l4t.as_ref().map_or("\u{2014}".into(), |text| clean(text, 30))) }
                        td { (run.power_mode.as_ref().map_or("\u{2014}".into(), |text| clean(text, 40))) }
                        td { (run.measured) " of " (run.points) }
                        td {
                            @if run.throttled == Some(true) { span.tag.alarm { "throttled" } }
                            @if run.partial { span.tag { "partial" } }
                            @if run.simulated { span.tag { "simulated" } }
                        }
                    }
                }
            }
        }
    }
}
