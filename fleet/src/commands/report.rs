//! `clipmark-fleet report`: one board, a cohort, or two runs, on the terminal and as one HTML file.

use crate::commands::choices::{factor, varied};
use crate::commands::compare::Pair;
use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::printed::{failed, opened, print, print_line};
use crate::report::{self, Asked, At, Compared, FACTORS, Links, Study};
use crate::store::{ProfileId, ProfileQuery, Store};
use clipmark_profile::compare::{CompareRule, compare};
use clipmark_profile::identity::Factor;
use clipmark_profile::series::Series;
use clipmark_profile::summary::Profile;
use clipmark_profile::topics::DeviceId;
use clipmark_profile::wire::{decode_profile, decode_series};
use clipmark_service::clock::unix_ms;
use maud::html;
use std::path::{Path, PathBuf};

/// Most series of one run.
const MOST_SERIES: u32 = 16;

/// Reports on one board, a cohort of boards, or two runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  clipmark-fleet report device orin-7
  clipmark-fleet report device orin-7 --profile 118 --out orin-7.html
  clipmark-fleet report cohort --model joint --batch 1 --clip 16 --by firmware --out upgrade.html
  clipmark-fleet report compare 118 131 --vary model --out builds.html")]
pub struct Report {
    #[command(subcommand)]
    of: Of,
    /// Also write it to this file, which needs nothing else to be read
    #[arg(long, value_name = "FILE", global = true)]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Of {
    /// One board's newest run, or another of its runs
    Device {
        /// The board
        device: DeviceId,
        /// The run's profile, by its number in `profiles`
        #[arg(long, value_name = "NUMBER")]
        profile: Option<i64>,
    },
    /// One point of one model over all boards, grouped by what is compared
    Cohort {
        /// The model; else the one that was measured last
        #[arg(long)]
        model: Option<String>,
        #[command(flatten)]
        at: At,
        /// What the groups differ in
        #[arg(long, default_value = "firmware", value_parser = factor(FACTORS.into_iter()))]
        by: Factor,
        /// The group that the others are held against; else the one with the most runs
        #[arg(long)]
        baseline: Option<String>,
    },
    /// Two runs, e.g. of two builds of one model; ends with 9 when the second is worse, with 7 when they cannot be
    /// compared
    Compare {
        /// The baseline: a profile's file (CBOR or JSON), or the number of a stored one
        baseline: String,
        /// The candidate, likewise
        candidate: String,
        /// What is meant to differ; repeatable
        #[arg(long, value_name = "FACTOR", value_parser = varied())]
        vary: Vec<Factor>,
    },
}

/// A stored run with its series.
fn stored(
    store: &mut Store,
    device: &DeviceId,
    number: Option<i64>,
) -> Result<(Profile, Vec<Series>), CommandError> {
    let storage = failed(ExitCode::Storage);
    let query = ProfileQuery {
        id: number.map(ProfileId),
        device: Some(device.clone()),
        limit: 1,
        ..ProfileQuery::default()
    };
    let run = store.profiles(&query).map_err(&storage)?.pop();
    let missing = |what: String| CommandError::new(ExitCode::NothingFound, what);
    let run = run.ok_or_else(|| {
        missing(format!(
            "no such run of {device} is stored; `clipmark-fleet profiles --device {device}` lists them"
        ))
    })?;
    let bytes = store.profile_bytes(run.id).map_err(&storage)?;
    let dropped = format!(
        "retention has dropped profile {} of {device}; `clipmark-fleet export` has its points",
        run.id.0
    );
    let bytes = bytes.ok_or_else(|| missing(dropped))?;
    let profile = decode_profile(&bytes).map_err(failed(ExitCode::Storage))?;
    let mut series = Vec::new();
    for row in store.series(device, Some(&profile.run.id), MOST_SERIES).map_err(&storage)? {
        let bytes = store.series_bytes(row.id).map_err(&storage)?;
        series.extend(bytes.and_then(|bytes| decode_series(&bytes).ok()));
    }
    Ok((profile, series))
}

impl Report {
    fn write(&self, page: &str) -> Result<(), CommandError> {
        let Some(path) = &self.out else { return Ok(()) };
        std::fs::write(path, page).map_err(|error| cannot_write(path, &error))?;
        print_line(&format!("written to {}", path.display()))
    }

    /// Prints the report, and writes it where asked to.
    ///
    /// # Errors
    /// When the store cannot be read, or there is nothing to report on.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        match &self.of {
            Of::Device { device, profile } => {
                let mut store = opened(config)?;
                let (profile, series) = stored(&mut store, device, *profile)?;
                let options = clipmark_report::TerminalOptions::default();
                print(&clipmark_report::terminal(&profile, &series, options))?;
                self.write(&clipmark_report::html(&profile, &series))?;
                Ok(ExitCode::Success)
            }
            Of::Cohort { model, at, by, baseline } => {
                let asked = Asked {
                    model: model.clone().unwrap_or_default(),
                    at: *at,
                    by: by.key(),
                    baseline: baseline.clone().unwrap_or_default(),
                };
                self.cohort(&asked, config)
            }
            Of::Compare { baseline, candidate, vary } => {
                let pair = Pair::load(baseline, candidate, config)?;
                let rule = CompareRule { varied: vary.clone(), ..CompareRule::default() };
                let found = compare(&pair.baseline, &pair.candidate, &rule);
                let of = Compared { baseline: &pair.baseline, candidate: &pair.candidate, found: &found };
                print(&report::comparison_text(of))?;
                let title = "Two runs compared";
                self.write(&report::self_contained(title, unix_ms(), &report::comparison(of)))?;
                Ok(Pair::exit_code(found.verdict))
            }
        }
    }

    fn cohort(&self, asked: &Asked, config: &Config) -> Result<ExitCode, CommandError> {
        let mut store = opened(config)?;
        let study = Study::of(&mut store, asked).map_err(failed(ExitCode::Storage))?;
        if !study.substituted.is_empty() {
            return Err(CommandError::new(ExitCode::NothingFound, study.substituted.join("; ")));
        }
        print(&report::cohorts_text(&study))?;
        let title = match (&study.focus.model, study.focus.at) {
            (Some(model), Some(shape)) => {
                format!(
                    "{}, {}",
                    clipmark_report::words::clean(model, 60),
                    clipmark_report::words::point(shape)
                )
            }
            _ => "Cohorts".to_owned(),
        };
        let body = html! { h1 { (title) } (report::cohorts(&study, Links::None)) };
        self.write(&report::self_contained(&title, unix_ms(), &body))?;
        Ok(if study.groups.is_empty() { ExitCode::NothingFound } else { ExitCode::Success })
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::new(
        ExitCode::Storage,
        format!("cannot write {}: {error}; check who may write there and for room", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::example;
    use clipmark_profile::wire::encode_profile;

    /// A second build of the example's `joint`: other bytes, a tenth faster everywhere but at one point.
    fn rebuilt(of: &Profile) -> Profile {
        let mut profile = of.clone();
        profile.run.id = "ffee".into();
        profile.models[0].sha256 = "c".repeat(64);
        for (index, point) in profile.points.iter_mut().enumerate() {
            let Some(latency) = &point.latency else { continue };
            let factor = if index == 3 { 1.4 } else { 0.9 };
            *point =
                example::measured(point.id.variant, point.id.shape, (latency.p50_ns * factor) as u64, 1000);
        }
        profile
    }

    fn report(folder: &Path, vary: Vec<Factor>) -> (ExitCode, String) {
        let path = |name: &str| folder.join(name).display().to_string();
        let baseline = example::profile_of_27_points();
        std::fs::write(path("old.cbor"), encode_profile(&baseline).unwrap()).unwrap();
        std::fs::write(path("new.cbor"), encode_profile(&rebuilt(&baseline)).unwrap()).unwrap();
        let of = Of::Compare { baseline: path("old.cbor"), candidate: path("new.cbor"), vary };
        let out = folder.join("builds.html");
        let code = Report { of, out: Some(out.clone()) }.execute(&Config::default()).unwrap();
        (code, std::fs::read_to_string(out).unwrap())
    }

    #[test]
    fn two_builds_of_a_model_are_compared_point_by_point_in_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let (code, page) = report(folder.path(), vec![Factor::MODEL]);
        assert_eq!(code, ExitCode::CheckFailed);
        assert!(page.contains("Of 27 points 1 got worse and 26 got better."), "{page}");
        assert!(page.contains("build of joint") && page.contains("cccccccccccc"), "{page}");
        assert!(page.contains("<svg") && page.contains("verdict worse") && page.contains("verdict better"));
        for outside in ["href=\"http", "https://", "<script", "src=", "url("] {
            assert!(!page.contains(outside), "the file asks for {outside}");
        }
    }

    #[test]
    fn another_build_is_not_compared_unless_it_is_named_as_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let (code, page) = report(folder.path(), Vec::new());
        assert_eq!(code, ExitCode::NothingFound);
        assert!(
            page.contains("The two runs cannot be compared.") && page.contains("the build differs"),
            "{page}"
        );
    }
}
