//! The page in a real Chromium: no console message, no request, and everything is there.
//!
//! Ignored without `chromium`; with `CLIPMARK_REQUIRE_CHROMIUM=1` its absence is a failure.

#![expect(clippy::disallowed_methods, reason = "a test writes files")]

#[path = "../../tests/common/chromium.rs"]
mod chromium;
#[path = "../../tests/common/component.rs"]
mod component;

use clipmark_profile::{example, series};
use component::trials;
use libtest_mimic::Arguments;
use std::path::Path;
use std::process::{Command, ExitCode};

/// What the browser made of the page, and what it had to say. `test` keeps the folders of two tests apart.
fn rendered(test: &str, page: &str) -> (String, String) {
    let folder = std::env::temp_dir().join(format!("clipmark-page-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let file = folder.join("report.html");
    std::fs::write(&file, page).expect("the page can be written");
    let output = browse(&folder, &file);
    let _ = std::fs::remove_dir_all(&folder);
    output
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

fn chromium_shows_the_page_without_a_complaint_or_a_request() {
    let profile = example::profile();
    let (evidence, sensors) = example::soak_evidence(profile.soaks[0].id);
    let series = series::build(&profile.run.id, &evidence, Some(&sensors), Some(&profile.soaks[0]));
    let (dom, log) = rendered("whole", &clipmark_report::html(&profile, &[series]));
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

fn chromium_reports_a_script_that_the_policy_forbids() {
    let page =
        clipmark_report::html(&example::profile(), &[]).replace("</main>", "<script>var x;</script></main>");
    let (_, log) = rendered("refused", &page);
    assert!(
        log.lines().any(|line| line.contains("CONSOLE")),
        "a refusal must be seen by the other test: {log}"
    );
}

fn main() -> ExitCode {
    let trials = trials![&[chromium::component()];
        chromium_shows_the_page_without_a_complaint_or_a_request,
        chromium_reports_a_script_that_the_policy_forbids,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
