//! A real Chromium, driven by its DevTools protocol over two pipes: pages are opened, keys are pressed, and
//! what the browser has to say is heard.

use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a page may take to become what it is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page. Dropping it ends it.
pub(crate) struct Browser {
    child: Child,
    commands: File,
    messages: Receiver<Value>,
    sent: u64,
    session: Option<String>,
    /// Console messages, exceptions and refused requests.
    pub(crate) complaints: Vec<String>,
    _folder: TempDir,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [to, from] = ["to", "from"].map(|name| folder.path().join(name));
        assert!(Command::new("mkfifo").args([&to, &from]).status().unwrap().success());
        let child = launch(folder.path(), &to, &from);
        // The shell opens them in this order too.
        let commands = File::options().write(true).open(&to).unwrap();
        let answers = File::open(&from).unwrap();
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            commands,
            messages,
            sent: 0,
            session: None,
            complaints: Vec::new(),
            _folder: folder,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        browser
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.commands.write_all(message.to_string().as_bytes()).unwrap();
        self.commands.write_all(&[0]).unwrap();
        let wanted = self.sent;
        let answer = self.hear(method, |message| (message["id"] == wanted).then(|| message.clone()));
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// The first message for which `found` has an answer.
    fn hear<T>(&mut self, what: &str, found: impl Fn(&Value) -> Option<T>) -> T {
        let from = Instant::now();
        loop {
            let message = self.messages.recv_timeout(PATIENCE.saturating_sub(from.elapsed()));
            let message = message.unwrap_or_else(|error| panic!("{what}: {error}"));
            if let "Log.entryAdded" | "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" =
                message["method"].as_str().unwrap_or_default()
            {
                self.complaints.push(message["params"].to_string());
            }
            if let Some(answer) = found(&message) {
                return answer;
            }
        }
    }

    fn loaded(&mut self, what: &str) {
        self.hear(what, |message| (message["method"] == "Page.loadEventFired").then_some(()));
    }

    /// Opens a page and waits until it is loaded.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.loaded(url);
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        self.call("Runtime.evaluate", asked)["result"]["value"].clone()
    }

    /// Waits until an expression is true, also on a page that is only coming.
    pub(crate) fn until(&mut self, expression: &str) {
        let from = Instant::now();
        while self.value(expression) != json!(true) {
            let text = self.value("document.body.innerText");
            assert!(from.elapsed() < PATIENCE, "never true: {expression}\n{text}\n{:?}", self.complaints);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Presses a key that does something.
    pub(crate) fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, None),
            "Enter" => (13, Some("\r")),
            "ArrowDown" => (40, None),
            _ => panic!("{key} is not known here"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if let (Some(text), "keyDown") = (text, kind) {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Types into what has the focus.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses Tab until what has the focus satisfies a selector.
    pub(crate) fn tab_to(&mut self, selector: &str) {
        let expression = format!("document.activeElement?.matches('{selector}') ?? false");
        for _ in 0..80 {
            if self.value(&expression) == json!(true) {
                return;
            }
            self.press("Tab");
        }
        panic!("the keyboard does not reach {selector}");
    }

    pub(crate) fn dark(&mut self, is_dark: bool) {
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// A picture of what is seen, as PNG; also written to the folder that CLIPMARK_SCREENSHOTS names.
    pub(crate) fn screenshot(&mut self, name: &str) -> Vec<u8> {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let png = from_base64(shot["data"].as_str().unwrap());
        if let Some(folder) = std::env::var_os("CLIPMARK_SCREENSHOTS") {
            fs::write(PathBuf::from(folder).join(format!("{name}.png")), &png).unwrap();
        }
        png
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(folder: &Path, to: &Path, from: &Path) -> Child {
    let script = "exec chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --remote-debugging-pipe --user-data-dir=\"$2\" about:blank \
        3<\"$0\" 4>\"$1\"";
    let mut command = Command::new("bash");
    command.args(["-c", script]).args([to, from]).arg(folder.join("user"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for c in text.bytes().filter(|c| *c != b'=') {
        let digit = DIGITS.iter().position(|digit| *digit == c).unwrap() as u32;
        bits = bits << 6 | digit;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes
}
