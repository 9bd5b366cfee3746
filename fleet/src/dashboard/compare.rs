//! One point of one model over the fleet: distributions side by side, verdicts, boards that stand out.

use super::layout::frame;
use super::{PageError, Site, page};
use crate::report::{Asked, FACTORS, Links, Study, cohorts};
use axum::extract::{Query, State};
use axum::response::Html;
use clipmark_report::words::clean;
use maud::{Markup, html};
use std::collections::BTreeSet;

/// The page.
pub(super) async fn show(
    State(site): State<Site>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, PageError> {
    let study = site.read(move |store| Ok(Study::of(store, &asked)?)).await?;
    let title = study.model.as_ref().map_or_else(|| "Compare".to_owned(), |model| clean(model, 60));
    let body = html! {
        h1 { "Compare" }
        (form(&study))
        (cohorts(&study, Links::Pages))
    };
    Ok(page(frame("/compare", &title, body)))
}

fn form(study: &Study) -> Markup {
    let batches: BTreeSet<u32> = study.points.iter().map(|point| point.0).collect();
    let clips: BTreeSet<u32> = study.points.iter().map(|point| point.1).collect();
    html! {
        form.filter method="get" action="/compare" {
            label { "Model" select name="model" { @for row in &study.models {
                option value=(row.model) selected[study.model.as_ref() == Some(&row.model)] { (clean(&row.model, 60)) }
            } } }
            label { "Batch size" select name="batch" { @for size in batches {
                option value=(size) selected[study.at.is_some_and(|at| at.0 == size)] { (size) }
            } } }
            label { "Clip length, frames" select name="clip" { @for length in clips {
                option value=(length) selected[study.at.is_some_and(|at| at.1 == length)] { (length) }
            } } }
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
