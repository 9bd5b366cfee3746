//! The page in a real Chromium: no console message, no request, and everything is there.
//!
//! Needs `chromium`; with `CLIPMARK_REQUIRE_CHROMIUM=1` its absence is a failure, else it is said.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test writes files, and one that could not run must say so"
)]

use clipmark_profile::{example, series};
use std::path::Path;
use std::process::Command;

/// What the browser made of the page, and what it had to say. `test` keeps the folders of two tests apart.
fn rendered(test: &str, page: &str) -> Option<(String, String)> {
    let required = std::env::var_os("CLIPMARK_REQUIRE_CHROMIUM").is_some_and(|value| value == "1");
    let present = Command::new("chromium").arg("--version").output().is_ok_and(|o| o.status.success());
    assert!(present || !required, "chromium is not installed: apt-get install chromium");
    if !present {
        eprintln!("NOT RUN: the page was not opened, because chromium is not installed");
        return None;
    }
    let folder = std::env::temp_dir().join(format!("clipmark-page-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let file = folder.join("report.html");
    std::fs::write(&file, page).expect("the page can be written");
    let output = browse(&folder, &file);
    let _ = std::fs::remove_dir_all(&folder);
    Some(output)
}

fn browse(folder: &Path, file: &Path) -> (String, String) {
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--v=0", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("user").display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("chromium starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn chromium_shows_the_page_without_a_complaint_or_a_request() {
    let profile = example::profile();
    let (evidence, sensors) = example::soak_evidence(profile.soaks[0].id);
    let series = series::build(&profile.run.id, &evidence, Some(&sensors), Some(&profile.soaks[0]));
    let Some((dom, log)) = rendered("whole", &clipmark_report::html(&profile, &[series])) else { return };
    // Console messages carry CONSOLE; a refused or failed request is such a message, because the page's
    // policy forbids every request.
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert_eq!(complaints, Vec::<&str>::new());
    for id in [
        "operating-points",
        "contrast",
        "grid",
        "trade-off",
        "distributions",
        "percentiles",
        "energy",
        "soak",
        "environment",
        "method",
    ] {
        assert!(dom.contains(&format!("<section id=\"{id}\"")), "{id}");
    }
    assert_eq!(dom.matches("<svg").count(), 5, "scaling, trade-off, two distributions, timeline");
    // The script ran: it shows the button that it offers.
    assert!(!dom.contains("type=\"button\" hidden"), "the page's script was refused or failed");
    assert!(!dom.contains("NaN"));
}

#[test]
fn chromium_reports_a_script_that_the_policy_forbids() {
    let page =
        clipmark_report::html(&example::profile(), &[]).replace("</main>", "<script>var x;</script></main>");
    let Some((_, log)) = rendered("refused", &page) else { return };
    assert!(
        log.lines().any(|line| line.contains("CONSOLE")),
        "a refusal must be seen by the other test: {log}"
    );
}
