//! `/docs` in a browser: it opens, groups its tags, finds operations and shows them, soon enough
//! and without a complaint.

use serde_json::json;

use crate::browser::Browser;
use crate::lab::Lab;

/// What opening the page, and then an operation, may cost the browser, in seconds of CPU. It is
/// meant to be half of this: a machine with much else to do needs more for the same.
const TO_OPEN: f64 = 6.0;
const TO_SHOW: f64 = 4.0;

#[tokio::test]
async fn the_page_opens_and_shows_its_largest_operations() {
    let Some(mut browser) = Browser::start().await else { return };
    let lab = Lab::new().await;
    lab.login().await;
    let page = browser.open(&lab.gate.url("/docs/")).await;
    browser.until(&page, "document.querySelectorAll('.tag-group').length > 5").await;
    browser.until(&page, "document.querySelectorAll('.opblock-tag').length > 5").await;
    let opened = browser.settled().await;
    println!("/docs opens with {opened:.2} s of CPU");
    assert!(opened < TO_OPEN, "{opened} s");

    // What is done in two ways is there once.
    let found = search(&mut browser, &page, "addToVmOtherConfig").await;
    assert_eq!(found, "0 found");
    let found = search(&mut browser, &page, "delete vdi").await;
    assert!(found.ends_with("found") && found != "0 found", "{found}");

    for operation in ["createVm", "listVms", "startVm", "patchHost", "streamEvents"] {
        search(&mut browser, &page, operation).await;
        let before = browser.settled().await;
        let own = format!(
            "[...document.querySelectorAll('.opblock')].find(block => \
             block.querySelector('.opblock-summary-operation-id')?.textContent === '{operation}')"
        );
        browser.until(&page, &format!("!!{own}")).await;
        browser
            .eval(&page, &format!("{own}.querySelector('.opblock-summary-control').click()"))
            .await;
        let shown = format!("{own}.querySelectorAll('.responses-inner .response').length > 1");
        browser.until(&page, &shown).await;
        let spent = browser.settled().await - before;
        println!("{operation} opens with {spent:.2} s of CPU");
        assert!(spent < TO_SHOW, "{operation}: {spent} s");
        let responses = format!("{own}.querySelector('.responses-inner').textContent");
        let text = browser.eval(&page, &responses).await;
        assert!(text.as_str().is_some_and(|text| text.contains("problem+json")), "{text}");
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
    browser.end();
    lab.end().await;
}

/// Types into the search, and answers what it says was found.
async fn search(browser: &mut Browser, page: &str, text: &str) -> String {
    // React listens for its own changes of the value.
    let typed = format!(
        "(() => {{ const input = document.querySelector('.operation-search'); \
         const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set; \
         set.call(input, {}); input.dispatchEvent(new Event('input', {{bubbles: true}})); }})()",
        json!(text)
    );
    browser.eval(page, &typed).await;
    browser.until(page, "!!document.querySelector('.operation-count')").await;
    browser.settled().await;
    let found = browser.eval(page, "document.querySelector('.operation-count').textContent").await;
    found.as_str().unwrap_or_default().to_owned()
}
