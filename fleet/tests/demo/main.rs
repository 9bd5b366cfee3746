//! `clipmark-fleet demo` from its start to Ctrl-C, with the clipmarkd that was built, and its pages in a real
//! Chromium by keyboard.
//!
//! Ignored without a clipmarkd, and as far as pages go without Chromium; with CLIPMARK_REQUIRE_CLIPMARKD=1 and
//! CLIPMARK_REQUIRE_CHROMIUM=1 that is a failure.

#![expect(clippy::unwrap_used, reason = "helpers fail a test")]

mod browser;
#[path = "../../../profile/tests/common/chromium.rs"]
mod chromium;
#[path = "../common/clipmarkd.rs"]
mod clipmarkd;
#[path = "../../../profile/tests/common/component.rs"]
mod component;

use browser::Browser;
use component::trials;
use libtest_mimic::Arguments;
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A demonstration that hangs the test rather than failing it is given up after so long.
const PATIENCE: Duration = Duration::from_secs(300);

/// A demonstration as a process, with temporary files in a folder of the test's own.
struct Demo {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    folder: tempfile::TempDir,
    _turn: fs::File,
}

/// Held by one demonstration at a time: two would take each other's time to measure.
fn turn() -> fs::File {
    let lock = fs::File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

impl Demo {
    /// One in which every board is done, and the address of its dashboard.
    fn whole() -> (Self, String) {
        let mut demo = Self::start(&clipmarkd::path(), &["--budget", "2"]);
        let url = demo.line("dashboard").split_whitespace().nth(1).unwrap().to_owned();
        demo.line("every board is done");
        (demo, url)
    }

    fn start(clipmarkd: &Path, arguments: &[&str]) -> Self {
        let turn = turn();
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_clipmark-fleet"))
            .args(["demo", "--no-open", "--dashboard", "127.0.0.1:0", "--clipmarkd"])
            .arg(clipmarkd)
            .args(arguments)
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, said: Vec::new(), folder, _turn: turn }
    }

    /// The first line that contains `text`.
    fn line(&mut self, text: &str) -> String {
        let from = Instant::now();
        loop {
            if let Some(line) = self.said.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let line = self.lines.recv_timeout(PATIENCE.saturating_sub(from.elapsed()));
            let line = line.unwrap_or_else(|_| panic!("it never said `{text}`:\n{}", self.said.join("\n")));
            self.said.push(line);
        }
    }

    /// What it has put into the folder for temporary files.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().contains("clipmark-demo"))
            .collect()
    }

    /// Runs another command on its fleet.
    fn output(&self, arguments: &[&str]) -> std::process::Output {
        let config = self.files()[0].join("fleet.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_clipmark-fleet"));
        command.arg("--config").arg(config).args(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The answer to a request that no page has sent.
fn answer(url: &str, request: &str) -> String {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.replace("{host}", address).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Processes with `text` on their command line.
fn processes(text: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(text))
        .count()
}

fn without_a_clipmarkd_it_says_how_to_build_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_clipmark-fleet"))
        .args(["demo", "--no-open", "--clipmarkd", "/nowhere/clipmarkd"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7), "{told}");
    assert!(told.contains("/nowhere/clipmarkd") && told.contains("cargo build"), "{told}");
}

fn everything_comes_up_is_measured_and_is_gone_afterwards() {
    let (mut demo, url) = Demo::whole();
    the_fleet_is_there(&demo);
    reports_can_be_made(&demo);
    a_form_from_elsewhere_is_refused(&url);
    let folder = demo.files()[0].display().to_string();
    assert_eq!(processes(&format!("{folder}/clipmarkd.toml")), 1);
    let pid = demo.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    assert!(demo.child.wait().unwrap().success());
    assert_eq!(processes(&format!("{folder}/clipmarkd.toml")), 0, "clipmarkd is left");
    assert_eq!(demo.files(), Vec::<PathBuf>::new());
}

fn everything_is_shown_and_can_be_asked_by_keyboard() {
    let (_demo, url) = Demo::whole();
    let mut browser = Browser::start();
    pages_are_shown(&mut browser, &url);
    a_run_is_asked_for_by_keyboard(&mut browser, &url);
    assert_eq!(browser.complaints, Vec::<String>::new());
}

fn the_fleet_is_there(demo: &Demo) {
    let devices = demo.command(&["devices"]);
    let line = |name: &str| {
        devices.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{devices}"))
    };
    for name in ["sim-orin-nano-1", "sim-agx-orin", "sim-nano"] {
        assert!(line(name).contains("online") && line(name).contains("simulated"), "{devices}");
    }
    assert!(line("sim-orin-nano-5").contains("  yes  "), "one throttles: {devices}");
    assert!(line("sim-orin-nano-6").contains("offline"), "one is away by its last will: {devices}");
    assert!(line("this-machine").contains("online"), "{devices}");
    let points = demo.command(&["export", "--device", "this-machine", "--format", "json"]);
    assert!(points.lines().count() >= 2, "{points}");
    assert!(!points.contains("\"simulated\":true"), "the real device measures: {points}");
    assert!(points.contains("\"backend\":\"tract\""), "{points}");
}

fn reports_can_be_made(demo: &Demo) {
    let cohort = demo.command(&["report", "cohort", "--model", "temporal", "--batch", "1", "--clip", "8"]);
    assert!(cohort.contains("sim-orin-nano-5: P") && cohort.contains("thermal trip"), "{cohort}");
    assert!(cohort.contains("simulated"), "{cohort}");
    for (asked, told) in [
        (["--batch", "77", "--clip", "8"].as_slice(), "batch 77, clip 8 was not measured; batch"),
        (&["--baseline", "R99.9"], "no group is called R99.9 by firmware; "),
    ] {
        let refused = demo.output(&[&["report", "cohort", "--model", "temporal"], asked].concat());
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(7) && said.contains(told), "{said}");
    }
    let page = demo.folder.path().join("device.html");
    let text = demo.command(&["report", "device", "sim-orin-nano-5", "--out", &page.display().to_string()]);
    assert!(text.contains("Throttle"), "{text}");
    assert!(fs::read_to_string(page).unwrap().contains("section id=\"soak\""));
}

fn a_form_from_elsewhere_is_refused(url: &str) {
    let body = "to=all&guard=guessed";
    let request = format!(
        "POST /measure HTTP/1.1\r\nHost: {{host}}\r\nConnection: close\r\nContent-Type: \
         application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert!(answer(url, &request).starts_with("HTTP/1.1 403"));
}

fn pages_are_shown(browser: &mut Browser, url: &str) {
    browser.size(1280, 900);
    browser.open(url);
    browser.until("document.querySelectorAll('tbody tr[data-device]').length === 9");
    assert_eq!(
        browser.value("document.querySelector('[data-device=\"sim-orin-nano-6\"] .pill').textContent"),
        "offline"
    );
    let light = browser.screenshot("fleet-overview");
    browser.dark(true);
    let dark = browser.screenshot("fleet-overview-dark");
    assert!(light.len() > 10_000 && light.starts_with(b"\x89PNG") && light != dark);
    let ground = browser.value("getComputedStyle(document.body).backgroundColor");
    browser.dark(false);
    assert_ne!(browser.value("getComputedStyle(document.body).backgroundColor"), ground);
    browser.open(&format!("{url}device/sim-orin-nano-5"));
    browser.until("document.querySelector('#soak svg') !== null");
    browser.open(&format!("{url}compare?model=temporal&batch=1&clip=8&by=build"));
    browser.until("document.querySelector('main svg') !== null");
    browser.open(&format!("{url}compare?model=temporal&batch=1&clip=8&by=firmware"));
    browser.until("document.body.innerText.includes('sim-orin-nano-5')");
    browser.screenshot("fleet-compare");
    browser.open(&format!("{url}trends?model=joint&batch=1&clip=8&figure=p50"));
    browser.until("document.querySelector('main svg') !== null");
    let text = browser.value("document.body.innerText").as_str().unwrap().to_owned();
    assert!(text.contains("worse") && text.contains("36.4.3"), "the planted regression is found: {text}");
    assert!(text.contains("better") && text.contains("build of the model"), "{text}");
    browser.screenshot("fleet-trends");
    // Nothing is wider than a phone but what scrolls by itself.
    browser.size(390, 800);
    for page in ["", "compare", "trends", "measure"] {
        browser.open(&format!("{url}{page}"));
        let wide = browser.value("document.documentElement.scrollWidth").as_u64().unwrap();
        assert!(wide <= 390, "{page} is {wide} pixels wide on a phone");
    }
    browser.size(1280, 900);
}

fn a_run_is_asked_for_by_keyboard(browser: &mut Browser, url: &str) {
    browser.open(&format!("{url}measure"));
    browser.tab_to("a.skip");
    browser.tab_to("input[name=device]");
    browser.type_text("sim-agx-orin");
    browser.tab_to("input[name=batch_sizes]");
    browser.type_text("1");
    browser.tab_to("input[name=clip_lengths]");
    browser.type_text("8");
    browser.tab_to("input[name=budget]");
    browser.type_text("1");
    browser.screenshot("fleet-measure");
    browser.tab_to("button.go");
    browser.press("Enter");
    browser.until("location.pathname === '/measure/confirm' && document.activeElement.matches('button.go')");
    assert_eq!(browser.value("document.querySelector('h1').textContent"), json!("Measure on 1 board?"));
    browser.press("Enter");
    browser.until("location.pathname.startsWith('/command/')");
    browser.until(
        "document.querySelector('[data-device=\"sim-agx-orin\"] .said')?.textContent === 'successful'",
    );
    // A plan that makes no sense is told before anything is asked.
    browser.open(&format!("{url}measure/confirm?to=all&clip_lengths=0"));
    browser.until("document.body.innerText.includes('clip length')");
    browser.complaints.retain(|complaint| !complaint.contains("400 (Bad Request)"));
}

fn main() -> ExitCode {
    let (clipmarkd, chromium) = (clipmarkd::component(), chromium::component());
    let mut trials = trials![&[]; without_a_clipmarkd_it_says_how_to_build_one];
    trials.extend(trials![&[clipmarkd]; everything_comes_up_is_measured_and_is_gone_afterwards]);
    trials.extend(trials![&[clipmarkd, chromium]; everything_is_shown_and_can_be_asked_by_keyboard]);
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
