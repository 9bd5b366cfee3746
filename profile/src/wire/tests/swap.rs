//! The CBOR crate can be swapped: minicbor reads every message and writes the same bytes.

use crate::wire::layout::{ProfileMessage, SeriesMessage};
use crate::wire::{encode_profile, encode_series, profile, series as wire_series};
use crate::{example, series};

#[test]
fn minicbor_reads_and_writes_the_same_profile() {
    for profile in [example::profile(), example::profile_of_27_points()] {
        let bytes = encode_profile(&profile).unwrap();
        let message: ProfileMessage = minicbor::decode(&bytes).unwrap();
        assert_eq!(message, profile::to_message(&profile).unwrap());
        assert_eq!(minicbor::to_vec(&message).unwrap(), bytes);
    }
}

#[test]
fn minicbor_reads_and_writes_the_same_series() {
    let profile = example::profile();
    let (evidence, sensors) = example::soak_evidence(profile.soaks[0].id);
    let series = series::build("r", &evidence, Some(&sensors), Some(&profile.soaks[0]));
    let bytes = encode_series(&series).unwrap();
    let message: SeriesMessage = minicbor::decode(&bytes).unwrap();
    assert_eq!(message, wire_series::to_message(&series).unwrap());
    assert_eq!(minicbor::to_vec(&message).unwrap(), bytes);
}
