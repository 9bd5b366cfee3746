//! `clipmark-fleet compare`: two profiles held against each other, with an exit code for CI.

use crate::commands::printed::print;
use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::report::{Compared, comparison_text};
use crate::store::{ProfileId, Store};
use clipmark_profile::compare::{Aspect, CompareRule, Verdict, compare};
use clipmark_profile::summary::Profile;
use clipmark_profile::wire::decode_profile;
use std::path::Path;

/// Compares two profiles; ends with 9 when the second is worse.
#[derive(Debug, clap::Args)]
pub struct Compare {
    /// The baseline: a profile's file (CBOR or JSON), or the number of a stored one
    baseline: String,
    /// The candidate, likewise
    candidate: String,
    /// What is meant to differ: model, backend, precision, threads, board or power-mode; repeatable
    #[arg(long, value_name = "ASPECT", value_parser = aspect)]
    vary: Vec<Aspect>,
}

pub(crate) fn aspect(name: &str) -> Result<Aspect, String> {
    match name {
        "model" => Ok(Aspect::Model),
        "backend" => Ok(Aspect::Backend),
        "precision" => Ok(Aspect::Precision),
        "threads" => Ok(Aspect::Threads),
        "board" => Ok(Aspect::Board),
        "power-mode" => Ok(Aspect::PowerMode),
        _ => Err("choose one of model, backend, precision, threads, board, power-mode".into()),
    }
}

fn load(name: &str, config: &Config) -> Result<Profile, CommandError> {
    let told = |code, what: String| CommandError::new(code, what);
    let bytes = match name.parse::<i64>() {
        Ok(number) if !Path::new(name).exists() => {
            let mut store =
                Store::open(&config.store).map_err(|e| CommandError::new(ExitCode::Storage, e))?;
            let bytes = store.profile_bytes(ProfileId(number));
            let bytes = bytes.map_err(|e| CommandError::new(ExitCode::Storage, e))?;
            let missing = format!("profile {number} is not stored, or retention dropped it; see `profiles`");
            bytes.ok_or_else(|| told(ExitCode::NothingFound, missing))?
        }
        _ => std::fs::read(name)
            .map_err(|e| told(ExitCode::Usage, format!("cannot read the profile {name}: {e}")))?,
    };
    let parsed = if bytes.first() == Some(&b'{') {
        serde_json::from_slice(&bytes).map_err(|e| e.to_string())
    } else {
        decode_profile(&bytes).map_err(|e| e.to_string())
    };
    parsed.map_err(|e| told(ExitCode::Usage, format!("{name} is no profile that this version reads: {e}")))
}

/// Two profiles to be held against each other.
pub(crate) struct Pair {
    pub(crate) baseline: Profile,
    pub(crate) candidate: Profile,
}

impl Pair {
    /// Reads both, each from a file or from the store.
    pub(crate) fn load(baseline: &str, candidate: &str, config: &Config) -> Result<Self, CommandError> {
        Ok(Self { baseline: load(baseline, config)?, candidate: load(candidate, config)? })
    }

    /// How a comparison with this verdict ends.
    pub(crate) const fn exit_code(verdict: Verdict) -> ExitCode {
        match verdict {
            Verdict::Worse => ExitCode::CheckFailed,
            Verdict::NotComparable => ExitCode::NothingFound,
            Verdict::Better | Verdict::Same => ExitCode::Success,
        }
    }
}

impl Compare {
    /// Prints the comparison.
    ///
    /// # Errors
    /// When a profile cannot be read.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let pair = Pair::load(&self.baseline, &self.candidate, config)?;
        let rule = CompareRule { varied: self.vary.clone(), ..CompareRule::default() };
        let found = compare(&pair.baseline, &pair.candidate, &rule);
        let of = Compared { baseline: &pair.baseline, candidate: &pair.candidate, found: &found };
        print(&comparison_text(of))?;
        Ok(Pair::exit_code(found.verdict))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::example;

    fn run(spoil: impl Fn(&mut Profile)) -> ExitCode {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let baseline = example::profile_of_27_points();
        let mut candidate = baseline.clone();
        spoil(&mut candidate);
        std::fs::write(path("a.json"), serde_json::to_vec(&baseline).unwrap()).unwrap();
        std::fs::write(path("b.cbor"), clipmark_profile::wire::encode_profile(&candidate).unwrap()).unwrap();
        let command = Compare { baseline: path("a.json"), candidate: path("b.cbor"), vary: Vec::new() };
        command.execute(&Config::default()).unwrap()
    }

    #[test]
    fn equal_profiles_end_with_0_a_slower_one_with_9_and_another_board_with_7() {
        assert_eq!(run(|_| {}), ExitCode::Success);
        let slower = |profile: &mut Profile| {
            let at = profile.points[0].id.at;
            profile.points[0] = example::measured(0, at, 9_000_000, 1000);
        };
        assert_eq!(run(slower), ExitCode::CheckFailed);
        assert_eq!(run(|profile| profile.environment.board_id = Some("nano".into())), ExitCode::NothingFound);
    }
}
