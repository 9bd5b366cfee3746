//! `clipmark-fleet compare`: two profiles held against each other, with an exit code for CI.

use crate::commands::choices::varied;
use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::printed::{failed, opened, print};
use crate::report::{Compared, comparison_text};
use crate::store::ProfileId;
use clipmark_profile::compare::{CompareRule, Verdict, compare};
use clipmark_profile::identity::Factor;
use clipmark_profile::summary::Profile;
use clipmark_profile::wire::decode_profile;
use std::error::Error;
use std::path::Path;

/// Compares two profiles; ends with 9 when the second is worse, with 7 when they cannot be compared.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  clipmark-fleet compare 118 131
  clipmark-fleet compare baseline.cbor clipmark-out/7/profile.cbor
  clipmark-fleet compare 118 131 --vary power-mode")]
pub struct Compare {
    /// The baseline: a profile's file (CBOR or JSON), or the number of a stored one
    baseline: String,
    /// The candidate, likewise
    candidate: String,
    /// What is meant to differ; repeatable
    #[arg(long, value_name = "FACTOR", value_parser = varied())]
    vary: Vec<Factor>,
}

/// A file or a stored profile that is no profile that this version reads.
#[derive(Debug, thiserror::Error)]
#[error("{name} is no profile that this version reads; check that it is one, or update clipmark-fleet")]
struct Unreadable {
    name: String,
    source: Box<dyn Error + Send + Sync>,
}

/// The bytes of a profile: of the store where `name` is a number and no file has that name.
fn bytes(name: &str, config: &Config) -> Result<Vec<u8>, CommandError> {
    match name.parse::<i64>() {
        Ok(number) if !Path::new(name).exists() => {
            let bytes =
                opened(config)?.profile_bytes(ProfileId(number)).map_err(failed(ExitCode::Storage))?;
            bytes.ok_or_else(|| {
                let what = format!(
                    "profile {number} is not stored, or retention dropped it; see `clipmark-fleet profiles`"
                );
                CommandError::new(ExitCode::NothingFound, what)
            })
        }
        _ => std::fs::read(name).map_err(|error| {
            let what = format!("cannot read the profile {name}: {error}; check the path");
            CommandError::new(ExitCode::Usage, what)
        }),
    }
}

fn load(name: &str, config: &Config) -> Result<Profile, CommandError> {
    let bytes = bytes(name, config)?;
    let parsed: Result<Profile, Box<dyn Error + Send + Sync>> = if bytes.first() == Some(&b'{') {
        serde_json::from_slice(&bytes).map_err(Into::into)
    } else {
        decode_profile(&bytes).map_err(Into::into)
    };
    parsed.map_err(|source| failed(ExitCode::Usage)(Unreadable { name: name.to_owned(), source }))
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
            let at = profile.points[0].id.shape;
            profile.points[0] = example::measured(0, at, 9_000_000, 1000);
        };
        assert_eq!(run(slower), ExitCode::CheckFailed);
        assert_eq!(run(|profile| profile.environment.board_id = Some("nano".into())), ExitCode::NothingFound);
    }

    #[test]
    fn what_is_no_profile_is_named_with_the_whole_cause() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let name = file.path().display().to_string();
        let mut bytes = clipmark_profile::wire::encode_profile(&example::profile_of_27_points()).unwrap();
        bytes.truncate(bytes.len() / 2);
        for content in [bytes.as_slice(), b"{\"schema\": true}"] {
            std::fs::write(file.path(), content).unwrap();
            let told = load(&name, &Config::default()).unwrap_err();
            let outermost = decode_profile(content).map(drop).unwrap_err();
            assert!(told.to_string().starts_with(&name), "{told}");
            let cause = told.source().expect("the cause is passed on");
            if content[0] != b'{' {
                assert_eq!(cause.to_string(), outermost.to_string());
                assert_eq!(cause.source().is_some(), outermost.source().is_some());
            }
        }
    }
}
