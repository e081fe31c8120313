//! Headless Chromium, driven as the W3C's WebDriver says: a small client of our own, as those on
//! crates.io bring a licence or a second HTTP stack that this project does without.
//!
//! Blocking, since a test drives one page at a time. A browser ends with its [`Browser`].

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// For everything that the browser is asked, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// The name of an element in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(super) const TAB: &str = "\u{e004}";
pub(super) const ENTER: &str = "\u{e007}";

/// A browser with one window.
pub(super) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// Profile, cache and crash reports, all to be thrown away.
    _profile: TempDir,
}

/// What differs between browsers.
pub(super) struct Look {
    pub(super) width: u32,
    pub(super) dark: bool,
    pub(super) scripts: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            width: 1280,
            dark: false,
            scripts: true,
        }
    }
}

impl Browser {
    pub(super) fn open(look: &Look) -> Self {
        let profile = TempDir::new().expect("a temporary folder");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .env("TMPDIR", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed by scripts/check");
        let stdout = driver.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let port = lines
            .find_map(|line| {
                let line = line.ok()?;
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse().ok()
            })
            .expect("chromedriver says which port it has");
        // It must never block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            _profile: profile,
        };
        let created = browser.call("POST", "/session", &capabilities(look));
        browser.session = created["sessionId"].as_str().expect("a session").to_owned();
        if look.dark {
            let features = json!([{ "name": "prefers-color-scheme", "value": "dark" }]);
            browser.devtools(
                "Emulation.setEmulatedMedia",
                &json!({ "features": features }),
            );
        }
        // Windows are never narrower than some 500 pixels; pages may be.
        let size = json!({
            "width": look.width, "height": 900, "deviceScaleFactor": 1, "mobile": false,
        });
        browser.devtools("Emulation.setDeviceMetricsOverride", &size);
        browser
    }

    pub(super) fn go(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    pub(super) fn url(&self) -> String {
        text(&self.ask("GET", "/url", &Value::Null))
    }

    /// Whether `words` are to be seen. Not while one page gives way to another.
    pub(super) fn shows(&self, words: &str) -> bool {
        let element = self.try_ask("POST", "/element", &css("body"));
        let text = element.and_then(|element| {
            let id = element[ELEMENT].as_str()?;
            self.try_ask("GET", &format!("/element/{id}/text"), &Value::Null)
        });
        text.is_some_and(|text| text.as_str().is_some_and(|text| text.contains(words)))
    }

    pub(super) fn click(&self, selector: &str) {
        self.of_element(selector, "POST", "/click", &json!({}));
    }

    pub(super) fn write(&self, selector: &str, text: &str) {
        self.of_element(selector, "POST", "/value", &json!({ "text": text }));
    }

    /// Presses and releases each key of `keys`, wherever the focus is.
    pub(super) fn keys(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            let stroke = move |kind: &str| json!({ "type": kind, "value": key });
            [stroke("keyDown"), stroke("keyUp")]
        });
        let strokes: Vec<Value> = strokes.collect();
        let actions = json!([{ "type": "key", "id": "keyboard", "actions": strokes }]);
        self.ask("POST", "/actions", &json!({ "actions": actions }));
    }

    /// The name by which a screen reader would call what has the focus.
    pub(super) fn focused(&self) -> String {
        let element = self.ask("GET", "/element/active", &Value::Null);
        let id = element[ELEMENT].as_str().expect("something has the focus");
        text(&self.ask("GET", &format!("/element/{id}/computedlabel"), &Value::Null))
    }

    /// Goes on with the tabulator until the focus is on what is called `label`.
    #[track_caller]
    pub(super) fn tab_to(&self, label: &str) {
        let mut passed = Vec::new();
        for _ in 0..60 {
            self.keys(TAB);
            let focused = self.focused();
            if focused == label {
                return;
            }
            passed.push(focused);
        }
        panic!("no {label:?} among {passed:?}");
    }

    /// What a script finds out; only for tests to look, never needed by a page.
    pub(super) fn evaluate(&self, expression: &str) -> Value {
        let script = json!({ "script": format!("return {expression};"), "args": [] });
        self.ask("POST", "/execute/sync", &script)
    }

    /// What the browser complains of: violations of the policy, scripts that failed, files that are
    /// not there.
    pub(super) fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().expect("a list").iter();
        entries.map(|entry| entry["message"].to_string()).collect()
    }

    /// The whole page as PNG.
    pub(super) fn screenshot(&self) -> Vec<u8> {
        let parameters = json!({ "format": "png", "captureBeyondViewport": true });
        let shot = self.devtools("Page.captureScreenshot", &parameters);
        let png = shot["data"].as_str().expect("a picture");
        BASE64_STANDARD.decode(png).expect("Base64")
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.ask("POST", "/goog/cdp/execute", &body)
    }

    fn of_element(&self, selector: &str, method: &str, what: &str, body: &Value) -> Value {
        let element = self.ask("POST", "/element", &css(selector));
        let id = element[ELEMENT].as_str().expect("an element");
        self.ask(method, &format!("/element/{id}{what}"), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    /// `None`: the browser says that it can't.
    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let path = format!("/session/{}{path}", self.session);
        let (status, value) = self.answered(method, &path, body);
        (status == 200).then_some(value)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, value) = self.answered(method, path, body);
        assert_eq!(status, 200, "{method} {path} {body}: {value}");
        value
    }

    fn answered(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (status, answer) = self
            .exchange(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        (status, answer["value"].take())
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> std::io::Result<(u16, String)> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
            self.port
        )?;
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = lengths
            .next()
            .and_then(|(_, length)| length.trim().parse().ok());
        let mut answer = vec![0; length.unwrap_or_default()];
        reader.read_exact(&mut answer)?;
        let answer = String::from_utf8(answer).map_err(std::io::Error::other)?;
        Ok((status.unwrap_or_default(), answer))
    }
}

impl Drop for Browser {
    /// The driver ends the browser with its session; then we end the driver.
    fn drop(&mut self) {
        let _ = self.exchange(
            "DELETE",
            &format!("/session/{}", self.session),
            &Value::Null,
        );
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn capabilities(look: &Look) -> Value {
    let scripts = if look.scripts { 1 } else { 2 };
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        // A click returns before the next page is there: an element is waited for.
        "timeouts": { "implicit": 10_000 },
        "goog:loggingPrefs": { "browser": "ALL" },
        "goog:chromeOptions": {
            // Its sandbox does not start as root, as tests are run; it meets our own pages only.
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--disable-background-networking", "--no-first-run", "--hide-scrollbars",
                "--lang=en"],
            "prefs": { "profile.managed_default_content_settings.javascript": scripts },
        },
    } } })
}

fn css(selector: &str) -> Value {
    json!({ "using": "css selector", "value": selector })
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
