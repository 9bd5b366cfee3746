//! What is logged.

use std::io::Write;
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

#[cfg(test)]
mod tests {
    use super::chosen;
    use tracing::Level;

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
