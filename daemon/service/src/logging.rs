//! What is logged, and how often.

use std::io::Write;
use std::time::Duration;
use tokio::time::Instant;
use tracing_subscriber::filter::Targets;

const VARIABLE: &str = "CLIPMARK_LOG";

/// The filter that `CLIPMARK_LOG` asks for, a level or levels by module such as `info,rumqttc=debug`; `default` where
/// it is not set. One that cannot be read is told on standard error, and `default` counts.
#[must_use]
pub fn filter(default: &str) -> Targets {
    let asked = std::env::var(VARIABLE).ok().filter(|asked| !asked.trim().is_empty());
    let (filter, problem) = chosen(asked.as_deref(), default);
    if let Some(problem) = problem {
        // Nothing can be logged yet, and standard error may be a file on a full disk.
        let _ = writeln!(std::io::stderr(), "warning: {problem}");
    }
    filter
}

fn chosen(asked: Option<&str>, default: &str) -> (Targets, Option<String>) {
    let usual = || default.parse().unwrap_or_default();
    match asked.map(str::parse::<Targets>) {
        None => (usual(), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => {
            let asked = asked.unwrap_or_default();
            let problem = format!(
                "{VARIABLE}={asked} is not understood ({error}); logging {default}. Give levels (error, warn, info, debug), e.g. \
                 debug or info,rumqttc=debug"
            );
            (usual(), Some(problem))
        }
    }
}

/// For how long a line that was written is left out; the time doubles up to the second of the two.
const LEFT_OUT: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(3600)];

/// Lines that are remembered.
const REMEMBERED: usize = 8;

/// Lines that come again and again, such as those of a broker that cannot be reached: each is written when it is new,
/// and then ever more rarely.
#[derive(Debug, Default)]
pub struct Repeated {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    text: String,
    pause: Duration,
    until: Instant,
    left_out: u64,
}

impl Repeated {
    /// Whether `text` is to be written `now`; if so, how often it came since it was last written.
    pub fn due(&mut self, text: &str, now: Instant) -> Option<u64> {
        let [first, longest] = LEFT_OUT;
        let Some(line) = self.lines.iter_mut().find(|line| line.text == text) else {
            if self.lines.len() == REMEMBERED {
                self.lines.remove(0);
            }
            self.lines.push(Line { text: text.into(), pause: first, until: now + first, left_out: 0 });
            return Some(0);
        };
        if now < line.until {
            line.left_out += 1;
            return None;
        }
        line.pause = (line.pause * 2).min(longest);
        line.until = now + line.pause;
        Some(std::mem::take(&mut line.left_out))
    }

    /// The trouble is over: what comes next is new.
    pub fn clear(&mut self) {
        self.lines.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Repeated, chosen};
    use std::time::Duration;
    use tokio::time::Instant;
    use tracing::Level;

    #[test]
    fn a_line_that_comes_every_minute_for_a_day_is_written_ever_more_rarely() {
        let mut repeated = Repeated::default();
        let start = Instant::now();
        let at = |minute: u64| start + Duration::from_secs(60 * minute);
        let written = (0..24 * 60).filter(|minute| repeated.due("no broker", at(*minute)).is_some()).count();
        assert!((20..40).contains(&written), "{written}");
        // Two that take turns are as rare as one.
        let turns = ["no route", "no broker"];
        let two = (0..24 * 60)
            .filter(|minute| repeated.due(turns[*minute as usize % 2], at(*minute + 1500)).is_some());
        assert!((20..80).contains(&two.count()));
        assert_eq!(repeated.due("certificate expired", at(3000)), Some(0));
        repeated.clear();
        assert_eq!(repeated.due("no broker", at(3001)), Some(0));
    }

    #[test]
    fn levels_are_taken_by_module_and_what_is_not_understood_leaves_the_default() {
        let (filter, problem) = chosen(Some("info,rumqttc=debug"), "warn");
        assert!(problem.is_none() && filter.would_enable("rumqttc::state", &Level::DEBUG));
        assert!(
            filter.would_enable("clipmarkd", &Level::INFO)
                && !filter.would_enable("clipmarkd", &Level::DEBUG)
        );
        let (filter, problem) = chosen(Some("rumqttc=loud"), "warn");
        assert!(problem.unwrap().starts_with("CLIPMARK_LOG=rumqttc=loud is not understood"));
        assert!(
            filter.would_enable("clipmarkd", &Level::WARN) && !filter.would_enable("clipmarkd", &Level::INFO)
        );
    }
}
