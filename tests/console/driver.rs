//! chromium by way of chromedriver: the calls of WebDriver that these tests need, as plain HTTP and JSON.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use leasehold::base::clock;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

const DRIVER: &str = "/usr/bin/chromedriver";
const BROWSER: &str = "/usr/bin/chromium";
const MISSING: &str = "is missing: run `docker/requirements browser`";
/// For one call; a page that loads is part of one.
const CALL_MAX: Duration = Duration::from_secs(20);
/// What does not come about in this time will not.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);
/// The name under which WebDriver hands an element out.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window; it ends when dropped.
pub(crate) struct Browser {
    driver: Child,
    client: reqwest::Client,
    session: String,
}

impl Browser {
    /// `dir`: for what it writes.
    pub(crate) async fn start(dir: &Path) -> Self {
        assert!(Path::new(DRIVER).is_file(), "{DRIVER} {MISSING}");
        assert!(Path::new(BROWSER).is_file(), "{BROWSER} {MISSING}");
        let mut command = Command::new(DRIVER);
        command.arg("--port=0").env("TMPDIR", dir).env("HOME", dir);
        // In a group of its own, which ends with it.
        command.process_group(0).stdin(Stdio::null()).stderr(Stdio::null());
        let mut driver = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| Some(line.unwrap().split_once("successfully on port ")?.1.to_owned()));
        let port = port.expect("chromedriver says its port");
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(CALL_MAX).build().unwrap();
        let base = format!("http://127.0.0.1:{}/session", port.trim_end_matches('.'));
        let mut browser = Self {
            driver,
            client,
            session: base,
        };
        let data = format!("--user-data-dir={}", dir.join("profile").display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
        ];
        let arguments = [&arguments[..], &["--window-size=1280,900", &data]].concat();
        let options = json!({"binary": BROWSER, "args": arguments});
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}});
        let made = browser.call("", wanted).await;
        browser.session = format!("{}/{}", browser.session, made["sessionId"].as_str().unwrap());
        browser
    }

    async fn call(&self, path: &str, body: Value) -> Value {
        self.try_call(path, body)
            .await
            .unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    async fn try_call(&self, path: &str, body: Value) -> Result<Value, String> {
        let url = format!("{}{path}", self.session);
        let answer = self.client.post(url).json(&body).send().await.unwrap();
        let (status, mut body): (_, Value) = (answer.status(), answer.json().await.unwrap());
        if status.is_success() {
            Ok(body["value"].take())
        } else {
            Err(body["value"]["message"].to_string())
        }
    }

    pub(crate) async fn open(&self, url: &str) {
        self.call("/url", json!({"url": url})).await;
    }

    /// The value of an expression in the page.
    pub(crate) async fn eval(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        self.call("/execute/sync", json!({"script": script, "args": []})).await
    }

    /// A command of the browser's own protocol.
    pub(crate) async fn tell(&self, command: &str, parameters: Value) -> Value {
        self.call("/goog/cdp/execute", json!({"cmd": command, "params": parameters}))
            .await
    }

    /// What a person reads.
    pub(crate) async fn text(&self) -> String {
        self.eval("document.body.innerText")
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until the page says this.
    pub(crate) async fn sees(&self, words: &str) {
        let end = clock::now().plus(PATIENCE);
        loop {
            let text = self.text().await;
            if text.contains(words) {
                return;
            }
            assert!(!clock::now().reached(end), "{words:?} is not seen:\n{text}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn find(&self, selector: &str) -> String {
        let end = clock::now().plus(PATIENCE);
        loop {
            let wanted = json!({"using": "css selector", "value": selector});
            if let Ok(found) = self.try_call("/element", wanted).await {
                return format!("/element/{}", found[ELEMENT].as_str().unwrap());
            }
            assert!(!clock::now().reached(end), "no {selector}:\n{}", self.text().await);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// As a person does: it must be there, in sight and not covered. A page that was refreshed meanwhile is tried again.
    pub(crate) async fn click(&self, selector: &str) {
        let end = clock::now().plus(PATIENCE);
        loop {
            let element = self.find(selector).await;
            match self.try_call(&format!("{element}/click"), json!({})).await {
                Ok(_) => return,
                Err(why) => assert!(!clock::now().reached(end), "{selector}: {why}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) async fn write(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        self.call(&format!("{element}/clear"), json!({})).await;
        self.call(&format!("{element}/value"), json!({"text": text})).await;
    }

    /// What is in sight as a small picture, for the pages of the documentation.
    pub(crate) async fn small_picture(&self, file: &Path) {
        let shot = json!({"format": "webp", "quality": 70});
        let shot = self.tell("Page.captureScreenshot", shot).await;
        std::fs::write(file, STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    /// The whole page as a picture.
    pub(crate) async fn picture(&self, file: &Path) {
        let shot = json!({"format": "png", "captureBeyondViewport": true});
        let shot = self.tell("Page.captureScreenshot", shot).await;
        std::fs::write(file, STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    pub(crate) async fn scheme(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.tell("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }

    pub(crate) async fn size(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.tell("Emulation.setDeviceMetricsOverride", size).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.driver.id()).unwrap_or(i32::MAX));
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.driver.wait();
    }
}
