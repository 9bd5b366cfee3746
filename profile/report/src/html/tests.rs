use super::*;
use clipmark_profile::example;
use sha2::{Digest, Sha256};

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = char::from(DIGITS[(word >> (18 - 6 * place)) as usize & 63]);
            text.push(if place <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

#[test]
fn the_policy_names_the_script() {
    assert_eq!(SCRIPT_DIGEST, format!("sha256-{}", base64(&Sha256::digest(SCRIPT.as_bytes()))));
}

#[test]
fn markup_in_names_is_shown_and_not_obeyed() {
    let attack = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&".to_owned();
    let mut profile = example::profile();
    profile.variants[0].model.clone_from(&attack);
    profile.models[0].name.clone_from(&attack);
    profile.run.origin.clone_from(&attack);
    profile.environment.board = Some(attack.clone());
    profile.operating_points[0].reason.clone_from(&attack);
    profile.operating_points[0].model.clone_from(&attack);
    profile.soaks[0].remarks = vec![attack.clone()];
    profile.warnings = vec![attack];
    let page = html(&profile, &[]);
    assert_eq!(page.matches("<script").count(), 1, "only the page's own script");
    assert_eq!(page.matches("<img").count(), 0);
    assert!(page.contains("&lt;script&gt;alert(1)"));
}

#[test]
fn nothing_on_the_page_points_elsewhere() {
    let page = html(&example::profile(), &[]);
    for forbidden in ["http://", "https://", "url(", "@import", " src=", "<link", "<iframe", "onclick"] {
        let without_namespace = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!without_namespace.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn a_profile_without_points_makes_a_page() {
    let mut profile = example::profile();
    profile.points.clear();
    profile.variants.clear();
    profile.scaling.clear();
    profile.memory_pressure.clear();
    profile.operating_points.clear();
    profile.soaks.clear();
    assert!(html(&profile, &[]).contains("No operating point could be chosen"));
}

#[test]
fn the_devices_own_times_stand_beside_latency_where_they_are_told() {
    let mut profile = example::profile();
    assert!(!html(&profile, &[]).contains("Device times"));
    let point = profile.points.iter_mut().find(|point| point.latency.is_some()).unwrap();
    point.latency.as_mut().unwrap().p50_ns = 1_000_000.0;
    point.compute_p50_ns = Some(700_000.0);
    point.h2d_p50_ns = Some(150_000.0);
    point.d2h_p50_ns = Some(50_000.0);
    let page = html(&profile, &[]);
    assert!(page.contains("Device times"));
    for figure in ["700 us", "150 us", "50.0 us", "100 us"] {
        assert!(page.contains(&format!("<td>{}</td>", figure.replace("us", "\u{b5}s"))), "{figure}");
    }
}

#[test]
fn a_board_that_changed_is_drawn_and_each_figure_stands_as_measured_and_in_the_common_state() {
    let still = example::profile_of_27_points();
    let moved = example::drifted(still.clone(), 1.25);
    let page = html(&moved, &[]);
    assert!(page.contains("The board during the sweep") && page.contains("block 0 at 1 s: 0.800"), "{page}");
    assert!(page.contains("these figures are estimates, in the board's state at the end of the sweep"));
    let latency = moved.points[0].latency.as_ref().unwrap();
    for ns in [latency.p50_ns, latency.p50_ns * 1.25] {
        assert!(page.contains(&format!(">{}</td>", crate::format::span(ns))), "{ns}");
    }
    let still = html(&still, &[]);
    assert!(!still.contains("common state") && !still.contains("state at the end"));
}

#[test]
fn what_the_sample_cannot_determine_is_said() {
    let page = html(&example::profile(), &[]);
    assert!(page.contains("not determinable at n = 60"));
    assert!(page.contains("extrapolated beyond fewer than 99 iterations"));
}
