//! One figure over time: what got worse, and with what it coincides.

use super::layout::{frame, point_fields};
use super::{PageError, Site, page};
use crate::report::{self, FIGURES, Links, Trends, Wanted, trend_devices};
use axum::extract::{Query, State};
use axum::response::Html;
use clipmark_report::words::clean;
use maud::{Markup, html};

/// The page.
pub(super) async fn show(
    State(site): State<Site>,
    Query(wanted): Query<Wanted>,
) -> Result<Html<String>, PageError> {
    let found = site.read(move |store| Ok(Trends::of(store, &wanted)?)).await?;
    let title = found.focus.model.as_ref().map_or_else(|| "Trends".to_owned(), |model| clean(model, 60));
    let body = html! {
        h1 { "Trends" }
        (form(&found))
        (report::trends(&found, Links::Pages))
    };
    Ok(page(frame("/trends", &title, body)))
}

fn form(found: &Trends) -> Markup {
    html! {
        form.filter method="get" action="/trends" {
            (point_fields(&found.focus))
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
