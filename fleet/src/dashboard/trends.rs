//! One figure over time: what got worse, and with what it coincides.

use super::layout::frame;
use super::{PageError, Site, page};
use crate::report::{self, FIGURES, Links, Trends, Wanted, trend_devices};
use axum::extract::{Query, State};
use axum::response::Html;
use clipmark_report::words::clean;
use maud::{Markup, html};
use std::collections::BTreeSet;

/// The page.
pub(super) async fn show(
    State(site): State<Site>,
    Query(wanted): Query<Wanted>,
) -> Result<Html<String>, PageError> {
    let found = site.read(move |store| Ok(Trends::of(store, &wanted)?)).await?;
    let title = found.model.as_ref().map_or_else(|| "Trends".to_owned(), |model| clean(model, 60));
    let body = html! {
        h1 { "Trends" }
        (form(&found))
        (report::trends(&found, Links::Pages))
    };
    Ok(page(frame("/trends", &title, body)))
}

fn form(found: &Trends) -> Markup {
    let batches: BTreeSet<u32> = found.points.iter().map(|point| point.0).collect();
    let clips: BTreeSet<u32> = found.points.iter().map(|point| point.1).collect();
    html! {
        form.filter method="get" action="/trends" {
            label { "Model" select name="model" { @for row in &found.models {
                option value=(row.model) selected[found.model.as_ref() == Some(&row.model)] { (clean(&row.model, 60)) }
            } } }
            label { "Batch size" select name="batch" { @for size in batches {
                option value=(size) selected[found.at.is_some_and(|at| at.0 == size)] { (size) }
            } } }
            label { "Clip length, frames" select name="clip" { @for length in clips {
                option value=(length) selected[found.at.is_some_and(|at| at.1 == length)] { (length) }
            } } }
            label { "Figure" select name="figure" { @for (name, metric) in FIGURES {
                option value=(name) selected[found.metric == metric] { (report::metric(metric)) }
            } } }
            label { "Board"
                input name="device" list="devices" value=[found.device.as_deref()] placeholder="all";
                datalist id="devices" { @for device in trend_devices(found) { option value=(device) {} } }
            }
            button.go { "Show" }
        }
    }
}
