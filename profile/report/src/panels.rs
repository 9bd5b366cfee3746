//! What of a soak's series is worth showing over time, for whoever draws it: the report's timeline and the
//! terminal's sparklines. Chooses and names; draws nothing.

use crate::format::{self, TimeScale};
use crate::words::clean;
use clipmark_profile::channel::{ChannelKind, Role};
use clipmark_profile::series::{ChannelSeries, Series};

/// Most lines in one panel: those with a role first, then those that move most.
const MOST_LINES: usize = 5;

/// One quantity over time.
pub(crate) struct PanelLine {
    pub(crate) name: String,
    pub(crate) values: Vec<Option<f64>>,
}

/// A horizontal line with a name.
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// Quantities of one unit.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) lines: Vec<PanelLine>,
    pub(crate) limits: Vec<Limit>,
    /// Largest values per tick, drawn faintly behind the first line.
    pub(crate) ceiling: Option<Vec<Option<f64>>>,
}

/// What there is to show of `series`: its latency, then each quantity that was read at least once.
pub(crate) fn panels(series: &Series) -> Vec<Panel> {
    let mut panels = vec![latency_panel(series)];
    let groups: [(&str, &[ChannelKind], f64); 5] = [
        ("temperature, \u{b0}C", &[ChannelKind::Temperature], 1e-3),
        ("clocks, MHz", &[ChannelKind::Clock], 1e-3),
        ("power, W", &[ChannelKind::Power], 1e-3),
        ("cooling state", &[ChannelKind::Cooling], 1.0),
        ("load, %", &[ChannelKind::Load], 0.1),
    ];
    for (title, kinds, factor) in groups {
        let channels: Vec<(usize, &ChannelSeries)> =
            series.channels.iter().enumerate().filter(|(_, c)| kinds.contains(&c.channel.kind)).collect();
        if channels.iter().any(|(_, c)| c.values.iter().any(Option::is_some)) {
            panels.push(channel_panel(series, title, &channels, factor));
        }
    }
    panels
}

fn latency_panel(series: &Series) -> Panel {
    let ns = |column: &[Option<i32>]| -> Vec<Option<f64>> {
        column.iter().map(|v| v.map(|v| f64::from(v) * series.latency_unit_ns as f64)).collect()
    };
    let p50 = ns(&series.latency_p50);
    let time = TimeScale::fitting(p50.iter().flatten().copied());
    let scaled = |values: Vec<Option<f64>>| values.into_iter().map(|v| v.map(|v| v / time.ns)).collect();
    Panel {
        title: format!("latency, {} (line: median of each second, shade: largest)", time.unit),
        lines: vec![PanelLine { name: "latency P50".into(), values: scaled(p50) }],
        limits: Vec::new(),
        ceiling: Some(scaled(ns(&series.latency_max))),
    }
}

fn channel_panel(series: &Series, title: &str, channels: &[(usize, &ChannelSeries)], factor: f64) -> Panel {
    let mut chosen: Vec<&(usize, &ChannelSeries)> = channels.iter().collect();
    let travel = |c: &ChannelSeries| {
        let values = c.values.iter().flatten();
        values.clone().max().zip(values.min()).map_or(0, |(high, low)| i64::from(*high) - i64::from(*low))
    };
    chosen.sort_by_key(|(_, c)| (c.channel.role == Role::Context, std::cmp::Reverse(travel(c))));
    chosen.truncate(MOST_LINES);
    let strip = |id: &str| clean(id.split_once('.').map_or(id, |(_, name)| name), 18);
    let limits = series
        .trips
        .iter()
        .filter(|trip| chosen.iter().any(|(index, _)| *index == usize::from(trip.channel)))
        .map(|trip| Limit {
            name: format!("{} trip {}", clean(&trip.kind, 12), format::celsius(trip.milli_celsius)),
            value: f64::from(trip.milli_celsius) * factor,
        })
        .collect();
    let lines = chosen
        .iter()
        .map(|(_, c)| PanelLine {
            name: strip(&c.channel.id),
            values: c.values.iter().map(|v| v.map(|v| f64::from(v) * factor)).collect(),
        })
        .collect();
    let more = channels.len().saturating_sub(MOST_LINES);
    let title = if more > 0 { format!("{title} ({more} more not drawn)") } else { title.to_owned() };
    Panel { title, lines, limits, ceiling: None }
}
