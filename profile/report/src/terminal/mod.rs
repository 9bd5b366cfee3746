//! A profile as terminal text: tables, sentences and sparklines, ending with what to use.
//!
//! The answer comes first, in two or three sentences. The last lines are the ones a reader still sees when a run has scrolled by, so the operating points
//! come last. Width and colour are arguments; nothing here looks at a terminal.

mod capacity;
mod header;
mod paint;
mod results;
mod soak;
mod sweep;
mod table;

pub use paint::Color;

use crate::table::Table;
use clipmark_profile::series::Series;
use clipmark_profile::summary::Profile;
use paint::Look;

/// How the text is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalOptions {
    /// Columns of the terminal; treated as 40 where less.
    pub width: usize,
    /// Colours, where wanted.
    pub color: Color,
}

impl Default for TerminalOptions {
    fn default() -> Self {
        Self { width: 80, color: Color::Plain }
    }
}

/// `profile` as text of at most `options.width` columns, ending in a newline. `series` are its soaks' in
/// their order, as far as they are known.
#[must_use]
pub fn terminal(profile: &Profile, series: &[Series], options: TerminalOptions) -> String {
    let mut page = Page { text: String::new(), width: options.width.max(40), color: options.color };
    header::write(&mut page, profile);
    results::answers(&mut page, profile);
    capacity::write(&mut page, profile);
    sweep::drift(&mut page, profile);
    sweep::contrast(&mut page, profile);
    sweep::grids(&mut page, profile);
    sweep::scaling(&mut page, profile);
    sweep::memory(&mut page, profile);
    sweep::failures(&mut page, profile);
    sweep::operators(&mut page, profile);
    results::energy(&mut page, profile);
    soak::write(&mut page, profile, series);
    header::environment(&mut page, profile);
    header::warnings(&mut page, profile);
    results::choices(&mut page, profile);
    results::operating_points(&mut page, profile);
    page.text
}

/// The text so far.
struct Page {
    text: String,
    width: usize,
    color: Color,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    /// A heading with a blank line before it.
    fn heading(&mut self, text: &str) {
        self.text.push('\n');
        self.item("", "  ", text, Look::Strong);
    }

    /// Wrapped text, every line behind `indent`.
    fn paragraph(&mut self, indent: &str, text: &str) {
        self.item(indent, indent, text, Look::Normal);
    }

    /// Wrapped text whose first line stands behind `first` and the others behind `rest`.
    fn item(&mut self, first: &str, rest: &str, text: &str, look: Look) {
        let room = textwrap::Options::new(self.width).initial_indent(first).subsequent_indent(rest);
        for line in textwrap::wrap(text, room) {
            let painted = self.color.paint(&line, look);
            self.line(&painted);
        }
    }

    /// The table with a legend of its marks, without its title.
    fn table(&mut self, table: &Table) {
        for line in table::lines(table, self.width, self.color) {
            self.line(&line);
        }
        for mark in table.marks() {
            self.item("  ", "    ", &format!("{} {}", mark.sign(), mark.meaning()), Look::Faint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::{example, series};
    use unicode_width::UnicodeWidthStr;

    /// The soak of the example over time.
    fn series() -> Vec<Series> {
        let profile = example::profile();
        let (evidence, sensors) = example::soak_evidence(profile.soaks[0].id);
        vec![series::build(&profile.run.id, &evidence, Some(&sensors), profile.soaks.first())]
    }

    #[test]
    fn a_run_with_a_soak_reads_like_this() {
        insta::assert_snapshot!(terminal(&example::profile(), &series(), TerminalOptions::default()));
    }

    #[test]
    fn a_sweep_of_one_model_reads_like_this() {
        let options = TerminalOptions { width: 100, color: Color::Plain };
        insta::assert_snapshot!(terminal(&example::profile_of_27_points(), &[], options));
    }

    #[test]
    fn a_board_that_changed_is_shown_and_the_tables_are_in_its_common_state() {
        let still = example::profile_of_27_points();
        let moved = example::drifted(still.clone(), 1.25);
        let text = terminal(&moved, &[], TerminalOptions { width: 100, color: Color::Plain });
        assert!(text.contains("The board during the sweep: latency over that at its end"), "{text}");
        assert!(text.contains("0.80 to 1.00 times, in 2 blocks"), "{text}");
        assert!(text.contains("P99 latency, ms, in the board's state at the end of the sweep"), "{text}");
        assert!(text.contains("frames/s, in the board's state at the end of the sweep"), "{text}");
        let still = terminal(&still, &[], TerminalOptions { width: 100, color: Color::Plain });
        assert!(!still.contains("state at the end"), "{still}");
    }

    #[test]
    fn sustained_streams_are_told_with_what_fails() {
        let profile = example::with_streams(example::profile_of_27_points());
        let text = terminal(&profile, &[], TerminalOptions { width: 100, color: Color::Plain });
        assert!(text.contains("Streams that the board sustains"), "{text}");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for capacity in &profile.capacities {
            let streams = capacity.streams().unwrap();
            assert!(words.contains(&format!("sustains {streams} streams of 30 frames/s")), "{text}");
            assert!(words.contains(&format!("; {} are not", streams + 1)), "{text}");
        }
        let long = text.lines().find(|line| line.width() > 100);
        assert_eq!(long, None);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [40, 57, 80, 133] {
            let profile = example::drifted(example::profile(), 1.25);
            let text = terminal(&profile, &series(), TerminalOptions { width, color: Color::Plain });
            let long = text.lines().find(|line| line.width() > width);
            assert_eq!(long, None, "at {width} columns");
        }
    }

    #[test]
    fn colour_changes_nothing_but_escape_sequences() {
        let plain = terminal(&example::profile(), &series(), TerminalOptions::default());
        for color in [Color::Ansi256, Color::TrueColor] {
            let painted = terminal(&example::profile(), &series(), TerminalOptions { width: 80, color });
            assert!(painted.contains('\u{1b}'));
            let stripped: Vec<String> =
                without_escapes(&painted).lines().map(|line| line.trim_end().to_owned()).collect();
            assert_eq!(stripped, plain.lines().collect::<Vec<_>>());
        }
    }

    fn without_escapes(text: &str) -> String {
        let mut kept = String::new();
        let mut parts = text.split('\u{1b}');
        kept.push_str(parts.next().unwrap_or_default());
        for part in parts {
            kept.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
        }
        kept
    }

    #[test]
    fn a_hostile_name_cannot_reach_the_terminal() {
        let mut profile = example::profile();
        let attack = "m\u{1b}[2J\u{7}\u{202e}\u{9b}31m\r\n".to_owned();
        profile.variants[0].model.clone_from(&attack);
        profile.models[0].name.clone_from(&attack);
        profile.models[0].inputs = vec![attack.clone()];
        profile.backends[0].version.clone_from(&attack);
        profile.run.origin.clone_from(&attack);
        profile.run.id.clone_from(&attack);
        profile.environment.board = Some(attack.clone());
        profile.environment.absent = vec![(attack.clone(), attack.clone())];
        profile.environment.warnings = vec![attack.clone()];
        profile.warnings = vec![attack.clone()];
        profile.operating_points[0].reason.clone_from(&attack);
        profile.power_topology = Some(attack.clone());
        profile.soaks[0].aborted = Some(attack.clone());
        profile.soaks[0].remarks = vec![attack.clone()];
        profile.soaks[0].throttles[0].evidence = vec![attack.clone()];
        profile.soaks[0].peak_temperatures[0].0.clone_from(&attack);
        for point in &mut profile.points {
            point.remarks = vec![attack.clone()];
            for operator in &mut point.operators {
                operator.name.clone_from(&attack);
                operator.kind.clone_from(&attack);
            }
            if let Some(failure) = &mut point.failure {
                failure.message.clone_from(&attack);
            }
        }
        let text = terminal(&profile, &series(), TerminalOptions::default());
        let control = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(control, None);
    }

    #[test]
    fn an_empty_profile_is_rendered() {
        let mut profile = example::profile();
        profile.points.clear();
        profile.variants.clear();
        profile.models.clear();
        profile.backends.clear();
        profile.scaling.clear();
        profile.memory_pressure.clear();
        profile.operating_points.clear();
        profile.soaks.clear();
        let text = terminal(&profile, &series(), TerminalOptions::default());
        assert!(text.contains("No operating point"), "{text}");
    }
}
