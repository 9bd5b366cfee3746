//! What happens in the fleet, as server-sent events.

use super::Site;
use super::layout::availability;
use crate::ingest::Live;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use clipmark_report::words::clean;
use futures_util::stream::{self, Stream};
use std::convert::Infallible;
use tokio::sync::broadcast::error::RecvError;

/// A stream of events until the page is closed. A page that is too far behind is told to reload.
pub(super) async fn events(State(site): State<Site>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let receiver = site.live.subscribe();
    let events = stream::unfold(receiver, |mut receiver| async move {
        let event = match receiver.recv().await {
            Ok(live) => event(live),
            Err(RecvError::Lagged(_)) => Event::default().event("reload").data("behind"),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), receiver))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

fn event(live: Live) -> Event {
    let (name, data) = match live {
        Live::State(device, state) => {
            let (word, class) = availability(Some(state.state));
            ("state", serde_json::json!({ "device": device.as_str(), "word": word, "class": class }))
        }
        Live::Progress(device, progress) => {
            let hottest = progress.temperatures.iter().map(|reading| reading.millicelsius.get()).max();
            let data = serde_json::json!({
                "device": device.as_str(),
                "phase": clean(&progress.phase, 40),
                "label": progress.label.map(|label| clean(&label, 60)),
                "point": progress.point,
                "points": progress.points,
                "celsius": hottest.map(|milli| f64::from(milli) / 1e3),
            });
            ("progress", data)
        }
        Live::Stored(devices) => {
            let names: Vec<&str> = devices.iter().map(|device| device.as_str()).collect();
            ("stored", serde_json::json!({ "devices": names }))
        }
        Live::Trouble(reason) => {
            ("trouble", serde_json::json!({ "reason": reason.map(|reason| clean(&reason, 300)) }))
        }
        Live::Status(device, status) => {
            let said = clean(&crate::progress::status_line(&status), 200);
            let data = serde_json::json!({ "device": device.as_str(), "command": status.command.as_str(), "said": said });
            ("status", data)
        }
    };
    Event::default().event(name).data(data.to_string())
}
