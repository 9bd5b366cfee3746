//! Writes messages of the made-up profiles into the directory named on the command line: for new golden
//! vectors. Once a version is released, its vectors are never written again.

#![expect(clippy::disallowed_methods, reason = "a program that writes files; the library does not")]

use clipmark_profile::codec::Encoding;
use clipmark_profile::{example, series, wire};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::path::PathBuf::from(std::env::args().nth(1).ok_or("usage: write_vectors FOLDER")?);
    let profile = example::profile();
    let (evidence, sensors) = example::soak_evidence(profile.soaks[0].id);
    let series = series::build(&profile.run.id, &evidence, Some(&sensors), Some(&profile.soaks[0]));
    std::fs::write(folder.join("v1-profile.cbor"), wire::encode_profile(&profile)?)?;
    std::fs::write(folder.join("v1-series.cbor"), wire::encode_series(&series)?)?;
    std::fs::create_dir_all(folder.join("messages"))?;
    for sample in example::messages() {
        let extension = if sample.encoding == Encoding::Cbor { "cbor" } else { "json" };
        let name = format!("messages/v1-{}.{extension}", sample.rule);
        std::fs::write(folder.join(name), &sample.bytes)?;
    }
    let sweep = wire::encode_profile(&example::profile_of_27_points())?;
    std::fs::write(folder.join("v1-profile-27-points.cbor"), sweep)?;
    let drifted = wire::encode_profile(&example::drifted(example::profile_of_27_points(), 1.25))?;
    std::fs::write(folder.join("v1-profile-drifted.cbor"), drifted)?;
    let streams = wire::encode_profile(&example::with_streams(example::profile_of_27_points()))?;
    std::fs::write(folder.join("v1-profile-streams.cbor"), streams)?;
    Ok(())
}
