//! Asking devices for a run: a form, a confirmation that names every device, and the request itself.

use super::layout::frame;
use super::{PageError, Site, page};
use crate::ingest::Outgoing;
use crate::operator::{Ask, cancellation};
use crate::store::{CommandQuery, CommandRow, DeviceQuery, Store};
use axum::extract::{Form, Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse, Redirect, Response};
use clipmark_profile::axis::{Axis, AxisValue, Domain};
use clipmark_profile::message::Availability;
use clipmark_profile::plan::Request;
use clipmark_profile::topics::{CommandId, DeviceId, OperationName};
use clipmark_report::words::clean;
use clipmark_service::clock::unix_ms;
use clipmark_service::mqtt::{Message, Verdict};
use maud::{Markup, html};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::oneshot;

/// Most devices that one confirmation lists by name.
const NAMED: usize = 200;

/// Most devices of one command.
const MOST: u32 = 100_000;

/// A device that comes back only after so long does not start.
const DEADLINE: Duration = Duration::from_secs(86_400);

/// The form, as a browser sends it: texts by the names of their fields. Axes have the keys of a request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct MeasureRequest(BTreeMap<String, String>);

/// A request that makes sense.
struct Checked {
    request: Request,
    devices: Vec<DeviceId>,
    /// How many of them are not connected.
    away: usize,
}

fn refused(what: impl Into<String>) -> PageError {
    PageError::Refused(what.into())
}

/// Axes that the form offers beside the model, with their keys in a request.
fn axes() -> impl Iterator<Item = (Axis, &'static str)> {
    let is_open = |axis: &Axis| *axis != Axis::Model && axis.row().domain != Domain::Count { most: 1 };
    Axis::ALL.into_iter().filter(is_open).filter_map(|axis| axis.row().request_key.map(|key| (axis, key)))
}

/// Values of an axis, separated by commas or blanks.
fn values(axis: Axis, text: &str) -> Result<Vec<AxisValue>, PageError> {
    let words = text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
    words.map(|word| axis.parse(word).map_err(|error| refused(clean(&error.to_string(), 200)))).collect()
}

fn listed(values: &[AxisValue]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A number of seconds, or nothing.
fn seconds(text: &str, what: &str) -> Result<Option<f64>, PageError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let number = f64::from_str(text).ok().filter(|value| value.is_finite());
    number.map(Some).ok_or_else(|| refused(format!("{what}: {} is no number of seconds", clean(text, 20))))
}

impl MeasureRequest {
    fn get(&self, field: &str) -> &str {
        self.0.get(field).map_or("", String::as_str)
    }

    fn request(&self) -> Result<Request, PageError> {
        let mut request = Request::default();
        let models = self.get("model").split(',').map(str::trim).filter(|name| !name.is_empty());
        request.models = models.map(str::to_owned).collect();
        for (axis, key) in axes() {
            let asked = values(axis, self.get(key))?;
            if !asked.is_empty() {
                request.ask(axis, &asked);
            }
        }
        request.budget_s = seconds(self.get("budget"), "Budget")?;
        request.soak_s = seconds(self.get("soak"), "Soak")?;
        if request.soak_s.is_some() {
            request.mode = clipmark_profile::plan::Mode::Auto;
        }
        Ok(request)
    }

    fn checked(&self, store: &mut Store) -> Result<Checked, PageError> {
        let request = self.request()?;
        let mut query = DeviceQuery { limit: MOST, ..DeviceQuery::default() };
        match self.get("to") {
            "all" => {}
            "group" => {
                let group = self.get("group").parse();
                query.group = Some(group.map_err(|_| refused("Choose a group."))?);
            }
            _ => {
                let device = self.get("device").trim().parse();
                query.device = Some(device.map_err(|_| refused("Name a board."))?);
            }
        }
        let rows = store.devices(&query)?;
        if rows.is_empty() {
            return Err(refused("No known board matches. Boards appear once they have been connected."));
        }
        let is_away = |state: Availability| state == Availability::Offline;
        let away =
            rows.iter().filter(|row| row.state.as_ref().is_none_or(|state| is_away(state.state))).count();
        let devices = rows.into_iter().map(|row| row.device).collect();
        // The same bounds that a device would name are told before anything is sent.
        Ask::run(&request, DEADLINE).map_err(|error| refused(format!("The plan is refused: {error}.")))?;
        Ok(Checked { request, devices, away })
    }
}

/// What the form offers.
struct Offered {
    groups: Vec<(String, u64)>,
    models: Vec<String>,
    devices: Vec<String>,
    recent: Vec<CommandRow>,
}

/// The form, filled from the address: `/measure?to=device&device=orin-7`.
pub(super) async fn form(
    State(site): State<Site>,
    Query(wish): Query<MeasureRequest>,
) -> Result<Html<String>, PageError> {
    let offered = site
        .read(|store| {
            let query = DeviceQuery { limit: 1000, ..DeviceQuery::default() };
            let devices = store.devices(&query)?.into_iter().map(|row| row.device.to_string()).collect();
            Ok(Offered {
                groups: store.groups()?,
                models: store.model_names()?.into_iter().map(|row| row.model).collect(),
                devices,
                recent: store.commands(&CommandQuery { limit: 20, ..CommandQuery::default() })?,
            })
        })
        .await?;
    let body = html! {
        h1 { "Measure" }
        @if site.outgoing.is_none() { p.banner { "This dashboard has no connection to a broker, so nothing can be asked for." } }
        (fields(&wish, &offered))
        (recent(&offered.recent))
    };
    Ok(page(frame("/measure", "Measure", body)))
}

fn fields(wish: &MeasureRequest, offered: &Offered) -> Markup {
    let defaults = Request::default();
    let to = Some(wish.get("to")).filter(|to| !to.is_empty()).unwrap_or("device");
    html! {
        form.ask method="get" action="/measure/confirm" {
            fieldset {
                legend { "Who" }
                label.choice { input type="radio" name="to" value="device" checked[to == "device"]; "one board" }
                label { "Board" input name="device" list="boards" value=(wish.get("device")) autocomplete="off"; }
                datalist id="boards" { @for name in &offered.devices { option value=(name) {} } }
                label.choice { input type="radio" name="to" value="group" checked[to == "group"]; "a group" }
                label { "Group" select name="group" {
                    option value="" { "choose" }
                    @for (name, count) in &offered.groups {
                        option value=(name) selected[wish.get("group") == name] { (clean(name, 60)) " (" (count) " boards)" }
                    }
                } }
                label.choice { input type="radio" name="to" value="all" checked[to == "all"]; "every board" }
            }
            fieldset {
                legend { "What" }
                label { "Models, separated by commas; empty: the built-in pair"
                    input name="model" list="models" value=(wish.get("model")) autocomplete="off"; }
                datalist id="models" { @for name in &offered.models { option value=(name) {} } }
                @for (axis, key) in axes() {
                    label { (axis.row().help)
                        input name=(key) value=(wish.get(key)) placeholder=(listed(&defaults.values(axis))); }
                }
                label { "Budget, seconds" input name="budget" value=(wish.get("budget")) placeholder="none" inputmode="decimal"; }
                label { "Soak afterwards, seconds" input name="soak" value=(wish.get("soak")) placeholder="none" inputmode="decimal"; }
            }
            button.go { "Review request" }
        }
    }
}

fn recent(rows: &[CommandRow]) -> Markup {
    html! {
        @if !rows.is_empty() {
            h2 { "Recent requests" }
            table.ruled.fleet {
                thead { tr { th scope="col" { "command" } th scope="col" { "board" } th scope="col" { "state" } } }
                tbody { @for row in rows {
                    tr {
                        th scope="row" { a href=(format!("/command/{}", row.command)) { (row.command) } }
                        td { (row.device) } td { (said(row)) }
                    }
                } }
            }
        }
    }
}

/// What will be done, to whom, and the button that does it.
pub(super) async fn confirm(
    State(site): State<Site>,
    Query(wish): Query<MeasureRequest>,
) -> Result<Html<String>, PageError> {
    let asked = wish.clone();
    let checked = site.read(move |store| asked.checked(store)).await?;
    let request = &checked.request;
    let models = if request.models.is_empty() {
        "the built-in pair".to_owned()
    } else {
        clean(&request.models.join(", "), 200)
    };
    let span = |seconds: Option<f64>| seconds.map_or("none".to_owned(), |seconds| format!("{seconds} s"));
    let count = checked.devices.len();
    let body = html! {
        h1 { "Measure on " (count) @if count == 1 { " board?" } @else { " boards?" } }
        dl.about {
            dt { "Boards" }
            dd {
                @for (index, device) in checked.devices.iter().take(NAMED).enumerate() {
                    @if index > 0 { ", " } (device)
                }
                @if count > NAMED { " and " (count - NAMED) " more" }
            }
            @if checked.away > 0 {
                dt { "Not connected" } dd { (checked.away) "; they begin when they are back within a day" }
            }
            dt { "Models" } dd { (models) }
            @for (axis, _) in axes() {
                dt { (axis.row().help) } dd { (listed(&request.values(axis))) }
            }
            dt { "Budget" } dd { (span(request.budget_s)) }
            dt { "Soak" } dd { (span(request.soak_s)) }
        }
        form.confirm method="post" action="/measure" {
            input type="hidden" name="guard" value=(site.guard.secret());
            @for (name, value) in wish.0.iter().filter(|(name, _)| name.as_str() != "guard") { input type="hidden" name=(name) value=(value); }
            button.go autofocus { "Measure" }
            a href="/measure" { "Not now" }
        }
    };
    Ok(page(frame("/measure", "Measure?", body)))
}

/// Sends the request to every device and leads to the command's page.
pub(super) async fn measure(
    State(site): State<Site>,
    headers: HeaderMap,
    Form(wish): Form<MeasureRequest>,
) -> Result<Response, PageError> {
    if !site.guard.admits(&headers, wish.get("guard")) {
        return Err(PageError::Forbidden);
    }
    let asked = wish.clone();
    let checked = site.read(move |store| asked.checked(store)).await?;
    let ask = Ask::run(&checked.request, DEADLINE).map_err(|error| refused(error.to_string()))?;
    let (command, operation) = (ask.command.clone(), OperationName::from(ask.operation));
    let devices = checked.devices.clone();
    let noted = (command.clone(), operation);
    site.read(move |store| Ok(store.asked(&noted.0, &noted.1, &devices, unix_ms())?)).await?;
    for device in &checked.devices {
        send(&site, ask.to(device)).await?;
    }
    Ok(Redirect::to(&format!("/command/{command}")).into_response())
}

/// Publishes a message and waits for the broker's word.
async fn send(site: &Site, message: Message) -> Result<(), PageError> {
    let away = || refused("There is no connection to the broker at the moment; try again when it is back.");
    let outgoing = site.outgoing.as_ref().ok_or_else(away)?;
    let (verdict, answer) = oneshot::channel();
    outgoing.send(Outgoing { message, verdict }).await.map_err(|_| PageError::Ended)?;
    match answer.await {
        // A device that never connected hears nothing; its row keeps saying so.
        Ok(Verdict::Accepted | Verdict::NobodyListens) => Ok(()),
        Ok(Verdict::Refused(reason)) => Err(refused(format!("The broker refuses the request: {reason}."))),
        Ok(Verdict::TooLarge { size }) => {
            Err(refused(format!("The request's {size} bytes are more than the broker takes in one message.")))
        }
        Err(_) => Err(away()),
    }
}

/// What a device last said of a command.
fn said(row: &CommandRow) -> String {
    match &row.status {
        None => "asked, no answer yet".into(),
        Some(status) => clean(&crate::progress::status_line(status), 200),
    }
}

fn is_open(row: &CommandRow) -> bool {
    row.status.as_ref().is_none_or(|status| !status.state.is_final())
}

/// A command on every board that it went to.
struct Known {
    id: CommandId,
    rows: Vec<CommandRow>,
}

impl Known {
    /// The boards that have not finished it.
    fn open(&self) -> impl Iterator<Item = &CommandRow> {
        self.rows.iter().filter(|row| is_open(row))
    }
}

async fn known(site: &Site, command: &str) -> Result<Known, PageError> {
    let missing = || PageError::Missing(format!("command {}", clean(command, 64)));
    let id: CommandId = command.parse().map_err(|_| missing())?;
    let query = CommandQuery { command: Some(id.clone()), limit: MOST, ..CommandQuery::default() };
    let rows = site.read(move |store| Ok(store.commands(&query)?)).await?;
    if rows.is_empty() { Err(missing()) } else { Ok(Known { id, rows }) }
}

/// How far a command is on every board.
pub(super) async fn command(
    State(site): State<Site>,
    Path(command): Path<String>,
) -> Result<Html<String>, PageError> {
    let known = known(&site, &command).await?;
    let (id, open, all) = (&known.id, known.open().count(), known.rows.len());
    let body = html! {
        h1 { "Command " (id) }
        p { (all - open) " of " (all) " boards are done." }
        table.ruled.fleet data-command=(id) {
            thead { tr { th scope="col" { "board" } th scope="col" { "state" } th scope="col" { "now" } } }
            tbody { @for row in &known.rows {
                tr data-device=(row.device) {
                    th scope="row" { a href=(format!("/device/{}", row.device)) { (row.device) } }
                    td.said { (said(row)) } td.now {}
                }
            } }
        }
        @if open > 0 { p { a.button href=(format!("/command/{id}/cancel")) { "Cancel" } } }
    };
    Ok(page(frame("/measure", "Command", body)))
}

/// Asks whether a command is to be given up.
pub(super) async fn ask_cancel(
    State(site): State<Site>,
    Path(command): Path<String>,
) -> Result<Html<String>, PageError> {
    let known = known(&site, &command).await?;
    let (id, open) = (&known.id, known.open().count());
    let body = html! {
        h1 { "Give " (id) " up?" }
        p { (open) " of " (known.rows.len()) " boards have not finished. What they have measured so far is kept as a partial profile." }
        form.confirm method="post" action=(format!("/command/{id}/cancel")) {
            input type="hidden" name="guard" value=(site.guard.secret());
            button.go autofocus { "Give it up" }
            a href=(format!("/command/{id}")) { "Let it go on" }
        }
    };
    Ok(page(frame("/measure", "Cancel?", body)))
}

/// What confirms a cancellation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Confirmed {
    guard: String,
}

/// Gives a command up on every board that has not finished it.
pub(super) async fn cancel(
    State(site): State<Site>,
    Path(command): Path<String>,
    headers: HeaderMap,
    Form(confirmed): Form<Confirmed>,
) -> Result<Response, PageError> {
    if !site.guard.admits(&headers, &confirmed.guard) {
        return Err(PageError::Forbidden);
    }
    let known = known(&site, &command).await?;
    let id = &known.id;
    for row in known.open() {
        let operation = row.operation.parse::<OperationName>();
        let operation = operation.map_err(|_| PageError::Missing("such operation".into()))?;
        send(&site, cancellation(&row.device, operation, id)).await?;
    }
    Ok(Redirect::to(&format!("/command/{id}")).into_response())
}
