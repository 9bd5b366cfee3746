//! One point of one model over the fleet: distributions side by side, verdicts, boards that stand out.

use super::layout::{frame, point_fields};
use super::{PageError, Site, page};
use crate::report::{Asked, FACTORS, Links, Study, cohorts};
use axum::extract::{Query, State};
use axum::response::Html;
use clipmark_report::words::clean;
use maud::{Markup, html};

/// The page.
pub(super) async fn show(
    State(site): State<Site>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, PageError> {
    let study = site.read(move |store| Ok(Study::of(store, &asked)?)).await?;
    let title = study.focus.model.as_ref().map_or_else(|| "Compare".to_owned(), |model| clean(model, 60));
    let body = html! {
        h1 { "Compare" }
        (form(&study))
        (cohorts(&study, Links::Pages))
    };
    Ok(page(frame("/compare", &title, body)))
}

fn form(study: &Study) -> Markup {
    html! {
        form.filter method="get" action="/compare" {
            (point_fields(&study.focus))
            label { "Side by side" select name="by" { @for factor in FACTORS {
                option value=(factor.name()) selected[study.factor == factor] { (factor.name()) }
            } } }
            label { "Baseline" select name="baseline" { @for group in &study.groups {
                option value=(group.name) selected[study.baseline.as_ref() == Some(&group.name)] { (clean(&group.name, 60)) }
            } } }
            button.go { "Compare" }
        }
    }
}
