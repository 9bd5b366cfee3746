//! Warnings, the machine, the software, the models, and how the figures came about.

use crate::findings::{self, machine};
use crate::format;
use crate::grid::ACROSS;
use crate::words::{self, clean};
use clipmark_profile::plan::Load;
use clipmark_profile::record::{BackendRecord, ModelRecord};
use clipmark_profile::summary::Profile;
use maud::{Markup, html};

/// Everything that weakens the figures.
pub(super) fn warnings(profile: &Profile) -> Option<Markup> {
    let warnings = findings::warnings(profile);
    (!warnings.is_empty()).then(|| html! { ul.plain { @for warning in &warnings { li { (warning) } } } })
}

/// The machine, the backends, the models.
pub(super) fn environment(profile: &Profile) -> Option<Markup> {
    let absent = &profile.environment.absent;
    Some(html! {
        dl.about {
            @for (name, value) in machine(&profile.environment) { dt { (name) } dd { (clean(&value, 300)) } }
            @for record in &profile.backends { dt { "backend" } dd { (backend(record)) } }
            @for record in &profile.models { dt { "model" } dd { (model(record)) } }
            @if let Some(share) = profile.sampler_cpu_share {
                dt { "sampler" } dd { (format::percent(share)) " of one core" }
            }
        }
        @if !absent.is_empty() {
            details {
                summary { (absent.len()) " values could not be read" }
                dl.about { @for (name, cause) in absent { dt { (clean(name, 80)) } dd { (clean(cause, 300)) } } }
            }
        }
    })
}

fn backend(record: &BackendRecord) -> Markup {
    html! {
        (clean(&record.name, 40)) " " (clean(&record.version, 60)) " on " (clean(&record.device, 80))
        @if record.simulated { " (simulated)" }
        @for note in &record.notes { br; span.note { (clean(note, 300)) } }
    }
}

fn model(record: &ModelRecord) -> Markup {
    html! {
        b { (clean(&record.name, 80)) } ": " (format::bytes(record.size_bytes.get()))
        @if let Some(count) = record.parameters { ", " (format::compact(count)) " parameters" }
        @for input in &record.inputs { br; code { (clean(input, 120)) } }
        br; span.note { "SHA-256 " } code { (clean(&record.sha256, 80)) }
    }
}

/// What the figures mean.
pub(super) fn method(profile: &Profile) -> Option<Markup> {
    let paced = profile.run.load == Load::Paced;
    Some(html! {
        ul.plain {
            li {
                @if paced {
                    "Inferences arrived on the schedule of a live stream. Latency counts from the intended \
                     arrival, so that time spent waiting behind a slow inference is not left out."
                } @else {
                    "Each inference started when the one before it had ended. Latency is the time of one \
                     inference, from inputs ready to output complete; loading and optimising the model is \
                     stated apart."
                }
            }
            li {
                "Iterations before the steady state were discarded. Inputs are random, seed "
                (profile.run.seed) "."
            }
            li {
                "P50, P95, P99 and P99.9 are those of Python's " code { "statistics.quantiles" } " (exclusive \
                 method); a P99 of fewer than 99 iterations lies beyond the largest observation and is marked."
            }
            li {
                "Intervals hold with 95 %: order statistics, widened by the autocorrelation of slow iterations. \
                 An end that the sample cannot determine is said to be so."
            }
            li {
                "Frames a second are the frames of an inference x iterations over "
                @if paced { "elapsed time." } @else { "summed latency." }
            }
            li {
                "Scaling exponents are Theil-Sen slopes of log latency over log " (ACROSS) ": 1 is linear, 2 \
                 quadratic. A break is shown where two slopes explain the points better than one (BIC)."
            }
            @if !profile.soaks.is_empty() {
                li {
                    "Soak: steady stretches are found by changepoints in one-second medians of latency. A \
                     throttle needs a change of latency and a sign of its cause on the board at the same time."
                }
            }
            li { "Profile schema " (profile.schema) ", analysis " (profile.analysis) ", load: " (words::load(profile.run.load)) "." }
        }
    })
}

/// The last line.
pub(super) fn footer(profile: &Profile) -> Markup {
    html! {
        footer {
            "Made by clipmark " (clean(&profile.environment.clipmark, 40)) " from the run of "
            (format::utc(profile.run.started_unix_ms)) ". This page holds everything it shows and asks for \
             nothing on the network."
        }
    }
}
