//! The console in headless Chromium.
//!
//! Every page is also photographed, wide and narrow, light and dark, into `console/` of the folder
//! for the tests' temporary files; `docs/images/` has some of these pictures.

use std::fs;
use std::path::Path;

use callback_dispatcher::merchant::MockMerchant;
use callback_dispatcher::store::ShownState;
use serde_json::json;

use super::access::down_once;
use super::driver::{Browser, ENTER, Look};
use super::showcase::Showcase;
use super::{TOKEN, keys};
use crate::live::Daemon;
use crate::support::place::Place;
use crate::support::store::StoreKind;
use crate::support::waiting::until;

/// Every kind of page, with a name for its picture.
const PAGES: [(&str, &str); 12] = [
    ("queue", "/console?range=6h"),
    ("exhausted", "/console/callbacks?state=exhausted"),
    ("pending", "/console/callbacks?state=pending"),
    ("callback-exhausted", "/console/callbacks/27"),
    ("callback-delivered", "/console/callbacks/1"),
    ("callback-hostile", "/console/callbacks/121"),
    ("merchants", "/console/merchants"),
    ("commands", "/console/commands"),
    ("command", "/console/commands/2"),
    ("search-nothing", "/console/search?q=S-999999"),
    ("sign-in", "/console/sign-in"),
    ("act", "/console/act?action=resend&state=exhausted&app=42"),
];

/// A place whose keys have the token, with a daemon and one callback that its merchant has refused.
async fn one_exhausted() -> (Place, Daemon, MockMerchant, String) {
    let place = Place::new();
    place.write_keys(&keys());
    let changes = [("ADMIN__LISTEN", "127.0.0.1:0"), ("RETRY__SCHEDULE", "")];
    let daemon = Daemon::start(&place, &changes).await;
    let merchant = daemon.merchant(&place, down_once()).await;
    daemon.queue(&merchant.url("/"), "N1").await;
    daemon.until_state("N1", ShownState::Exhausted).await;
    let url = format!("http://{}/console", daemon.admin_addr());
    (place, daemon, merchant, url)
}

/// A key is pressed before the page that it leads to has come; so this waits for it.
async fn sees(browser: &Browser, words: &str) {
    until(&format!("{words:?} is to be seen"), async || {
        browser.shows(words)
    })
    .await;
}

async fn lands_on(browser: &Browser, path: &str) {
    until(&format!("the browser is at {path}"), async || {
        browser.url().contains(path)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_alone_finds_and_resends_a_callback() {
    let (_place, daemon, _merchant, url) = one_exhausted().await;
    let browser = Browser::open(&Look::default());
    browser.go(&url);

    // The first stop leads past the navigation.
    browser.tab_to("Skip to the content");
    browser.keys(ENTER);
    assert_eq!(browser.evaluate("document.activeElement.id"), json!("main"));
    browser.go(&url);

    browser.tab_to("Order number, refund number or id");
    browser.keys("shop-N1");
    browser.keys(ENTER);
    sees(&browser, "Attempt 1").await;
    sees(&browser, "503").await;
    sees(&browser, "was sent to").await;

    browser.tab_to("Resend…");
    browser.keys(ENTER);
    sees(&browser, "Sign in").await;
    browser.tab_to("Your name");
    browser.keys("night shift");
    browser.tab_to("Token");
    browser.keys(TOKEN);
    browser.keys(ENTER);

    // On with what was begun.
    sees(&browser, "Opens a new round").await;
    browser.tab_to("Reason");
    browser.keys("they are back");
    browser.keys(ENTER);
    lands_on(&browser, "/console/commands/").await;
    daemon.until_state("N1", ShownState::Delivered).await;
    until("the page tells the answer", async || {
        browser.go(&browser.url());
        browser.shows("done")
    })
    .await;
    sees(&browser, "they are back").await;
    sees(&browser, "Signed in as night shift").await;

    browser.tab_to("Sign out");
    browser.keys(ENTER);
    until("nobody is signed in", async || {
        browser.shows("Sign in") && !browser.shows("Signed in as")
    })
    .await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
    drop(browser);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_nothing_is_done() {
    let (place, daemon, _merchant, url) = one_exhausted().await;
    let browser = Browser::open(&Look::default());
    browser.go(&format!("{url}/act?action=resend&callback=1"));
    browser.write("#name", "night shift");
    browser.write("#token", "not the token at all");
    browser.click("main button");
    sees(&browser, "This is not the token.").await;
    browser.go(&format!("{url}/act?action=resend&callback=1"));
    lands_on(&browser, "/console/sign-in").await;
    assert_eq!(place.sql("SELECT count(*) FROM operator_command"), "0");
    assert_eq!(daemon.callback("N1").await.state, ShownState::Exhausted);
    drop(browser);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_script_is_needed() {
    let (_place, daemon, _merchant, url) = one_exhausted().await;
    let browser = Browser::open(&Look {
        scripts: false,
        ..Look::default()
    });
    browser.go("data:text/html,<noscript>scripts are off</noscript><p>here</p>");
    sees(&browser, "scripts are off").await;

    browser.go(&url);
    browser.write("#q", "N1");
    browser.click(".search button");
    sees(&browser, "Attempt 1").await;
    browser.click("a.button");
    browser.write("#name", "night shift");
    browser.write("#token", TOKEN);
    browser.click("main button");
    browser.write("#reason", "they are back");
    browser.click("main button");
    lands_on(&browser, "/console/commands/").await;
    daemon.until_state("N1", ShownState::Delivered).await;
    drop(browser);
    daemon.stop().await;
}

/// In every look: nothing that the policy forbids, nothing missing, nothing wider than the window, every
/// picture with words, every field with a label, every heading in its place.
#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_sound_in_every_look() {
    let showcase = Showcase::start(StoreKind::Sqlite).await;
    let looks = [
        ("light", 1280, false),
        ("dark", 1280, true),
        ("narrow", 390, false),
    ];
    for (name, width, dark) in looks {
        let browser = Browser::open(&Look {
            width,
            dark,
            ..Look::default()
        });
        browser.go(&showcase.url("/console/sign-in"));
        for (page, path) in PAGES {
            if page == "act" {
                browser.write("#name", "night shift");
                browser.write("#token", TOKEN);
                browser.click("main button");
            }
            browser.go(&showcase.url(path));
            keep(&format!("{page}-{name}.png"), &browser.screenshot());
            assert_sound(&browser, page, width);
        }
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{name}");
    }
    showcase.stop().await;
}

/// Each expression counts what must not be there.
const UNSOUND: [(&str, &str); 9] = [
    (
        "wider than the window",
        "document.documentElement.scrollWidth > innerWidth ? 1 : 0",
    ),
    (
        "owned by a merchant",
        "document.title === 'owned' || document.querySelector('main img, main script, main style') ? 1 : 0",
    ),
    (
        "no language",
        "document.documentElement.lang === 'en' ? 0 : 1",
    ),
    (
        "not one first heading",
        "document.querySelectorAll('h1').length - 1",
    ),
    (
        "fields without a label",
        "[...document.querySelectorAll('input:not([type=hidden]), select')].filter(field => !field.labels.length).length",
    ),
    (
        "pictures without words",
        "[...document.querySelectorAll('svg:not([aria-hidden])')].filter(svg => !svg.querySelector('title').textContent || !svg.querySelector('desc').textContent).length",
    ),
    (
        "tables without a caption or scopes",
        "[...document.querySelectorAll('table')].filter(table => !table.caption || table.querySelector('th:not([scope])')).length",
    ),
    (
        "doubled ids",
        "(ids => ids.length - new Set(ids).size)([...document.querySelectorAll('[id]')].map(element => element.id))",
    ),
    (
        "buttons and links without a name",
        "[...document.querySelectorAll('a, button')].filter(element => !element.textContent.trim()).length",
    ),
];

/// Text whose contrast with what is behind it is below 4.5 to 1, as WCAG reckons it.
const LOW_CONTRAST: &str = "(() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = colour => {
    const [r, g, b] = channels(colour).map(c => c / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if ((channels(colour)[3] ?? 1) === 1) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const low = new Set();
  for (const element of document.querySelectorAll('body *')) {
    const shows = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!shows || !element.checkVisibility() || element.closest('defs, title, desc')) continue;
    const style = getComputedStyle(element);
    const ink = element.namespaceURI.endsWith('svg') ? style.fill : style.color;
    const [a, b] = [luminance(ink), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.add(`${element.tagName} ${element.className} ${ratio.toFixed(2)}`);
  }
  return [...low].join('; ');
})()";

#[track_caller]
fn assert_sound(browser: &Browser, page: &str, width: u32) {
    for (what, expression) in UNSOUND {
        let found = browser.evaluate(expression);
        assert_eq!(found, json!(0), "{page} at {width}: {what}");
    }
    let low = browser.evaluate(LOW_CONTRAST);
    assert_eq!(low, json!(""), "{page} at {width}: contrast");
}

fn keep(name: &str, picture: &[u8]) {
    assert!(picture.starts_with(b"\x89PNG"), "{name}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    fs::create_dir_all(&folder).expect("a folder for pictures");
    fs::write(folder.join(name), picture).expect("a picture");
}
