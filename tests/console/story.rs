//! An operator's day, and what a viewer can't.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::bed::{ADMIN, Bed, OPERATOR, VIEWER};
use crate::driver::Browser;

/// Where the pictures go.
fn picture(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let place = target.join("console");
    std::fs::create_dir_all(&place).unwrap();
    place.join(format!("{name}.png"))
}

async fn log_in(browser: &Browser, url: &str, token: &str) {
    browser.tell("Network.clearBrowserCookies", json!({})).await;
    browser.open(url).await;
    browser.write("#token", token).await;
    browser.click("button[type=submit]").await;
    browser.sees("Log out").await;
}

/// Processor time that a process has had, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// `cargo nextest run --workspace --test console --run-ignored only --no-capture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "figures for people"]
#[expect(clippy::print_stdout, reason = "figures for people")]
async fn what_five_consoles_cost() {
    let bed = Bed::start().await;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let pid = bed.nodes[0].pid().unwrap();
    let look = || client.get(bed.url(0, "/")).bearer_auth(OPERATOR).send();
    let bytes = look().await.unwrap().text().await.unwrap().len();
    for consoles in [0, 5] {
        let (before, mut slowest) = (ticks(pid), 0);
        for _ in 0..10 {
            for _ in 0..consoles {
                let began = leasehold::base::clock::now();
                look().await.unwrap().text().await.unwrap();
                let took = leasehold::base::clock::now().since(began).as_millis();
                slowest = slowest.max(took);
            }
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        }
        let spent = (ticks(pid) - before) * 10;
        println!(
            "{consoles} consoles: {spent} ms of a processor in 20 s, the slowest answer {slowest} ms, {bytes} bytes"
        );
    }
}

/// What the command line says of the group.
fn line(bed: &Bed, node: usize) -> Value {
    bed.nodes[node].status().unwrap()["groups"]["mail"].take()
}

/// An operator at the console of one node.
struct Operator<'a> {
    browser: &'a Browser,
    bed: &'a Bed,
}

impl Operator<'_> {
    async fn first_screen(&self) {
        self.browser.open(&self.bed.url(0, "/")).await;
    }

    /// From the first screen by the menu of the group to the question.
    async fn choose(&self, path: &str) {
        self.first_screen().await;
        self.browser.click("#acts-mail-open").await;
        self.browser.click(&format!("#acts-mail a[href='{path}']")).await;
        self.browser.sees("What it will do").await;
    }

    /// Means it, and waits for its end.
    async fn go(&self, end: &str) {
        self.browser.click("#do").await;
        self.browser.sees(end).await;
        self.browser.sees("Done").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_the_cluster_and_acts_on_it() {
    let mut bed = Bed::start().await;
    let browser = Browser::start(&bed.nodes[0].dir).await;
    log_in(&browser, &bed.url(0, "/"), OPERATOR).await;
    looks(&browser, &bed).await;
    let operator = Operator {
        browser: &browser,
        bed: &bed,
    };
    moves(&operator).await;
    orders(&operator).await;
    places(&operator).await;
    works_without_a_script(&operator).await;
    a_viewer_only_looks(&browser, &bed).await;
    is_lost_and_found(&browser, &mut bed).await;
}

/// By day, by night, and on a telephone.
async fn looks(browser: &Browser, bed: &Bed) {
    browser
        .sees("Every group serves, and every node could take what it should.")
        .await;
    browser.sees("Active").await;
    browser.picture(&picture("light")).await;
    browser.scheme("dark").await;
    browser.picture(&picture("dark")).await;
    browser.scheme("light").await;
    browser.size(390, 844).await;
    for path in ["/", "/group/mail", "/group/mail/stop"] {
        browser.open(&bed.url(0, path)).await;
        browser.sees("mail").await;
        let wider = browser.eval("document.scrollingElement.scrollWidth - innerWidth").await;
        assert!(
            wider.as_i64().unwrap() <= 0,
            "{path} is wider than the screen by {wider}"
        );
    }
    browser.open(&bed.url(0, "/")).await;
    browser.sees("Every group serves").await;
    browser.picture(&picture("narrow")).await;
    browser.size(1280, 900).await;
    let scripts = browser.eval("[...document.scripts].map((one) => one.src)").await;
    assert_eq!(scripts, json!([bed.url(0, "/console.js")]), "ours alone");
}

async fn moves(operator: &Operator<'_>) {
    let Operator { browser, bed } = operator;
    operator.first_screen().await;
    let holder = line(bed, 0)["holder"].as_str().unwrap().to_owned();
    let to = if holder == "b" { "c" } else { "b" };
    browser.click(&format!("#move-mail-{to}")).await;
    browser.sees(&format!("{holder} stops mail. Then {to} starts it")).await;
    browser.picture(&picture("question")).await;
    browser.write("#why", "a new disk").await;
    operator
        .go(&format!("mail moved to {to}. It was without service for"))
        .await;
    browser.picture(&picture("done")).await;
    assert_eq!(line(bed, 0)["holder"], to);
    let history = String::from_utf8(bed.nodes[0].cli(&["history", "mail"]).stdout).unwrap();
    assert!(
        history.contains("ann on a") && history.contains("a new disk"),
        "{history}"
    );
    operator.choose("/group/mail/failback").await;
    browser.sees("The last moves in order were without service for").await;
    operator.go("mail moved to a. It was without service for").await;
    browser.open(&bed.url(0, "/group/mail")).await;
    browser.sees("Then b would take over and start mail.").await;
    browser.sees("a new disk").await;
    browser.picture(&picture("group")).await;
    operator.first_screen().await;
    browser.size(1100, 800).await;
    browser.sees("Active").await;
    browser.small_picture(&picture("console").with_extension("webp")).await;
    browser.size(1280, 900).await;
}

async fn orders(operator: &Operator<'_>) {
    let Operator { browser, bed } = operator;
    operator.choose("/group/mail/pause").await;
    browser.write("#minutes", "5").await;
    operator.go("mail is on pause.").await;
    operator.first_screen().await;
    browser.sees("end the pause of mail when the work is done").await;
    browser.click("#acts-mail-open").await;
    browser.sees("mail is on pause by ann on a").await;
    browser.picture(&picture("paused")).await;
    browser.click("#next").await;
    operator.go("a serves mail.").await;

    operator.choose("/group/mail/stop").await;
    browser.write("#typed", "web").await;
    browser.click("#do").await;
    browser.sees("Nothing was done: type mail").await;
    assert_eq!(line(bed, 0)["holder"], "a");
    browser.write("#typed", "mail").await;
    operator.go("mail is stopped; nobody starts it until").await;
    operator.first_screen().await;
    browser.click("#next").await;
    operator.go(" serves mail.").await;

    bed.change_file();
    operator.first_screen().await;
    browser.sees("let mail start again with the changed file").await;
    browser.click("#next").await;
    browser.sees("environment").await;
    // Its holder may be another node, which does not tell its run.
    operator.go("mail").await;
    assert!(line(bed, 0)["drift"].is_null());
}

async fn places(operator: &Operator<'_>) {
    let Operator { browser, bed } = operator;
    // Whoever was first started it again.
    let holder = line(bed, 0)["holder"].as_str().unwrap().to_owned();
    let other = if holder == "c" { "b" } else { "c" };
    operator.choose(&format!("/group/mail/unextend?to={other}")).await;
    operator.go(&format!("{other} never takes mail.")).await;
    operator.choose(&format!("/group/mail/extend?to={other}")).await;
    operator.go(&format!("{other} may take mail again.")).await;
    operator.first_screen().await;
    browser.click(&format!("a[href='/node/{holder}/drain']")).await;
    operator.go("mail moved to ").await;
    operator.first_screen().await;
    browser.click(&format!("a[href='/node/{holder}/undrain']")).await;
    operator.go(&format!("{holder} may take groups again.")).await;
}

async fn works_without_a_script(operator: &Operator<'_>) {
    let browser = operator.browser;
    let off = |value: bool| browser.tell("Emulation.setScriptExecutionDisabled", json!({"value": value}));
    off(true).await;
    operator.first_screen().await;
    browser.click("#acts-mail-open").await;
    browser.click("a[href='/group/mail/pause']").await;
    browser.click("#do").await;
    browser.click("#group").await;
    browser.click("#acts-mail-open").await;
    browser.click("a[href='/group/mail/resume']").await;
    browser.click("#do").await;
    off(false).await;
    operator.first_screen().await;
    browser.sees("Log out").await;
}

async fn a_viewer_only_looks(browser: &Browser, bed: &Bed) {
    log_in(browser, &bed.url(0, "/"), VIEWER).await;
    browser.sees("vic (viewer)").await;
    let text = browser.text().await;
    assert!(
        text.contains("Active") && !text.contains("Actions") && !text.contains("Move here"),
        "{text}"
    );
    browser.open(&bed.url(0, "/group/mail/stop")).await;
    browser.sees("vic is viewer: this takes operator").await;
}

/// What the command line does itself is done from the browser as well, by the program that runs here: the way back is shown, and
/// the checks before a group is there again.
#[tokio::test(flavor = "multi_thread")]
async fn an_admin_deletes_creates_and_holds() {
    let bed = Bed::start().await;
    let browser = Browser::start(&bed.nodes[0].dir).await;
    log_in(&browser, &bed.url(0, "/"), ADMIN).await;
    let admin = Operator {
        browser: &browser,
        bed: &bed,
    };
    admin.first_screen().await;
    browser.click("#acts-mail-open").await;
    browser
        .sees("mail has no virtual IP, so no client can be moved with it")
        .await;
    browser.sees("stop it first").await;
    is_set(&admin).await;
    admin.choose("/group/mail/stop").await;
    browser.write("#typed", "mail").await;
    admin.go("mail is stopped; nobody starts it until").await;
    is_deleted(&admin).await;

    admin.choose("/group/mail/create").await;
    browser.sees("a is alive and has mail in its compose file.").await;
    browser.sees("Checks").await;
    browser.picture(&picture("create")).await;
    admin.go("serves mail.").await;

    admin.first_screen().await;
    browser.click("#node-acts-a-open").await;
    browser.click("#node-acts-a a[href='/node/a/hold']").await;
    browser.sees("What it will do").await;
    browser.write("#seconds", "40").await;
    admin.go("held for ").await;
    admin.first_screen().await;
    browser.sees("a is on hold for ").await;
}

/// A value by the group's page, and back.
async fn is_set(admin: &Operator<'_>) {
    let Operator { browser, bed } = admin;
    let change = "a[href='/group/mail/set?to=restarts.window']";
    browser.open(&bed.url(0, "/group/mail")).await;
    browser.click(change).await;
    browser.sees("Nothing restarts, and the files stay as they are.").await;
    browser.write("#value", "s").await;
    browser.click("#do").await;
    browser.sees("Nothing was done: restarts.window can't be").await;
    browser.write("#value", "20s").await;
    browser.picture(&picture("set")).await;
    admin.go("restarts.window is 20s from here on").await;
    browser.open(&bed.url(0, "/group/mail")).await;
    browser.picture(&picture("settings")).await;
    browser.sees("by kim on a").await;
    browser.click(change).await;
    browser.click("#unset").await;
    admin.go("restarts.window is 10m again").await;
}

async fn is_deleted(admin: &Operator<'_>) {
    let Operator { browser, bed } = admin;
    admin.choose("/group/mail/delete").await;
    browser.write("#why", "moves to another cluster").await;
    browser.write("#typed", "mail").await;
    admin.go("mail is deleted. No node starts it.").await;
    browser.sees("The way back to plain services").await;
    browser.sees("docker compose up -d").await;
    let text = browser.text().await;
    assert!(text.contains("-    scale: 0"), "{text}");
    browser.picture(&picture("deleted")).await;
    assert_eq!(line(bed, 0)["state"], "deleted");
    let history = String::from_utf8(bed.nodes[0].cli(&["history", "mail"]).stdout).unwrap();
    assert!(
        history.contains("kim on a") && history.contains("moves to another"),
        "{history}"
    );
}

/// A sidecar that ends is told; one that is back knows no session.
async fn is_lost_and_found(browser: &Browser, bed: &mut Bed) {
    log_in(browser, &bed.url(0, "/"), OPERATOR).await;
    browser.sees("Every group serves").await;
    bed.nodes[0].stop();
    browser.sees("No answer from node a since").await;
    browser.picture(&picture("lost")).await;
    let other = format!("a[href='{}']", bed.url(1, "/"));
    browser.click(&other).await;
    browser.sees("Token").await;
    log_in(browser, &bed.url(1, "/"), OPERATOR).await;
    // Silent first, away once its lease has ended.
    browser.sees("the node is ").await;
    browser.open(&bed.url(1, "/")).await;
    browser.picture(&picture("away")).await;
}
