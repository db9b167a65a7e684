//! Lists as NDJSON, CSV and tables, by `Accept`.

use reqwest::Method;
use serde_json::Value;
use xengate::sim::{SimConfig, Value as SimValue};

use crate::lab::{Answer, Lab};
use crate::queries::asking;

async fn get(lab: &Lab, token: &str, path: &str, accept: &str) -> Answer {
    let request = lab.gate.request(Method::GET, path).bearer_auth(token);
    lab.gate.send(request.header("accept", accept)).await
}

fn text(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    std::str::from_utf8(&answer.body).expect("UTF-8")
}

#[tokio::test]
async fn lines_of_json_are_the_items_of_the_list() {
    let lab = Lab::with(|sim: &mut SimConfig| sim.vms = 60, |_, _| {}).await;
    let token = lab.login().await;
    let list = lab.get("/vms", &token).await.ok();
    let answer = get(&lab, &token, "/vms", "application/x-ndjson").await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("content-length"), None, "it is streamed");
    let lines: Vec<Value> =
        text(&answer).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(Value::from(lines), list["items"]);
    assert!(text(&answer).ends_with("}\n") && answer.body.len() > 2 * (64 << 10), "in pieces");
    assert_eq!(answer.header("xen-total"), Some(&*list["total"].to_string()));

    let path = asking(
        "/vms",
        &[("limit", "2"), ("fields", "VBDs"), ("expand", "VBDs"), ("sort", "-uuid")],
    );
    let page = get(&lab, &token, &path, "application/x-ndjson").await;
    assert_eq!(text(&page).lines().count(), 2);
    for line in text(&page).lines() {
        let vm: Value = serde_json::from_str(line).expect("JSON");
        let along = vm["expanded"]["lab"]["VBD"].as_object().map_or(0, serde_json::Map::len);
        assert_eq!(vm["VBDs"].as_array().map(Vec::len), Some(along), "{vm}");
    }
    let link = page.header("link").expect("more");
    let next = link.trim_start_matches('<').split('>').next().expect("a reference");
    let next = get(&lab, &token, &format!("/vms{next}"), "application/x-ndjson").await;
    assert_eq!(text(&next).lines().count(), 2);
    let none = asking("/vms", &[("filter", "uuid = nobody")]);
    assert_eq!(text(&get(&lab, &token, &none, "application/x-ndjson").await), "");
    lab.end().await;
}

#[tokio::test]
async fn csv_opens_in_a_spreadsheet_and_runs_nothing() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let list = lab.get("/vms?fields=uuid", &token).await.ok();
    let uuid = list["items"][0]["uuid"].as_str().expect("a uuid");
    let formula = "=cmd|' /C calc'!A0,\"x\"\r\ny";
    lab.sim.set_field("VM", uuid, "name_label", SimValue::text(formula)).expect("set");
    lab.sim.set_field("VM", uuid, "tags", SimValue::texts(["a,b"])).expect("set");
    let path = format!("/vms/{uuid}");
    lab.until(&path, &token, |answer| answer.json()["tags"][0] == "a,b").await;
    let path = "/vms?fields=name_label,tags,domid,affinity,is_a_template&limit=1";
    let answer = get(&lab, &token, path, "text/csv").await;
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"vms.csv\""));
    let domid = lab.get(&format!("/vms/{uuid}"), &token).await.ok()["domid"].to_string();
    let want = format!(
        "uuid,backend,name_label,tags,domid,affinity,is_a_template\r\n\
         {uuid},lab,\"'=cmd|' /C calc'!A0,\"\"x\"\"\r\ny\",\"[\"\"a,b\"\"]\",{domid},,false\r\n"
    );
    assert_eq!(text(&answer), want);
    // Without a choice every field has its column, and every object its row.
    let answer = get(&lab, &token, "/hosts", "text/csv").await;
    assert!(text(&answer).starts_with("uuid,backend,name_label,"));
    let rows = csv::Reader::from_reader(text(&answer).as_bytes()).into_records().count();
    assert_eq!(Value::from(rows), lab.get("/hosts", &token).await.ok()["total"]);
    let answer = get(&lab, &token, "/tasks?fields=error,status", "text/csv").await;
    assert!(text(&answer).starts_with("uuid,backend,error,status\r\n"));
    lab.end().await;
}

#[tokio::test]
async fn a_table_is_for_eyes() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let list = lab.get("/vms?fields=uuid", &token).await.ok();
    let uuid = list["items"][0]["uuid"].as_str().expect("a uuid");
    lab.sim
        .set_field("VM", uuid, "name_label", SimValue::text("a\u{1b}[31m\u{7}\nb"))
        .expect("set");
    let path = format!("/vms/{uuid}?fields=name_label");
    lab.until(&path, &token, |answer| {
        answer.json()["name_label"] != "" && answer.body.windows(4).any(|w| w == b"[31m")
    })
    .await;
    let answer = get(&lab, &token, "/vms", "text/plain").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let lines: Vec<&str> = text(&answer).lines().collect();
    let head: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(head[..3], ["name_label", "uuid", "power_state"], "{}", lines[0]);
    assert_eq!(lines.len() - 1, list["items"].as_array().map_or(0, Vec::len));
    assert!(!text(&answer).contains(['\u{1b}', '\u{7}']));
    let at = lines[0].find("uuid").expect("a column");
    for line in &lines[1..] {
        let cell: String = line.chars().skip(at).take(36).collect();
        assert!(uuid::Uuid::try_parse(&cell).is_ok(), "{line}");
    }
    let answer = get(&lab, &token, "/vms?fields=power_state&limit=1", "text/plain").await;
    assert_eq!(text(&answer).lines().next(), Some("power_state"));
    lab.end().await;
}

#[tokio::test]
async fn a_weight_that_cannot_be_read_is_a_refusal_everywhere() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    for weight in ["x", "NaN", "", "2", "-1", "1e-1"] {
        for (path, media) in [
            ("/vms", "application/json"),
            ("/metrics", "text/plain"),
            ("/openapi.json", "application/json"),
            ("/events", "text/event-stream"),
        ] {
            let accept = format!("{media};q={weight}");
            get(&lab, &token, path, &accept).await.problem(406, "NOT_ACCEPTABLE");
            if path != "/events" {
                let accept = format!("{accept}, image/png;q=0.1, {media};q=.2");
                assert_eq!(get(&lab, &token, path, &accept).await.status, 200, "{path} {accept}");
            }
        }
        for path in ["/vms", "/metrics", "/openapi.json", "/docs/swagger-ui.css"] {
            let coding = async |accept: String| {
                let request = lab.gate.request(Method::GET, path).bearer_auth(&token);
                let answer = lab.gate.send(request.header("accept-encoding", accept)).await;
                assert_eq!(answer.status, 200, "{path} {weight}");
                answer.header("content-encoding").map(str::to_owned)
            };
            assert_eq!(coding(format!("gzip;q={weight}")).await, None, "{path} {weight}");
            let other = coding(format!("*, zstd;q={weight}, br;q={weight}")).await;
            assert_eq!(other.as_deref(), Some("gzip"), "{path} {weight}");
        }
    }
    lab.end().await;
}

#[tokio::test]
async fn what_cannot_be_given_is_a_406_and_problems_are_always_json() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let problem = get(&lab, &token, "/vms", "application/xml").await.problem(406, "NOT_ACCEPTABLE");
    for media in ["application/json", "application/x-ndjson", "text/csv", "text/plain"] {
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.contains(media)),
            "{problem}"
        );
    }
    get(&lab, &token, "/vms", "text/csv;q=0").await.problem(406, "NOT_ACCEPTABLE");
    let uuid = lab.get("/vms?limit=1&fields=uuid", &token).await.ok()["items"][0]["uuid"].clone();
    let one = format!("/vms/{}", uuid.as_str().expect("a uuid"));
    get(&lab, &token, &one, "text/csv").await.problem(406, "NOT_ACCEPTABLE");
    let liked = "text/csv;q=0.5, application/json;q=0.4, text/plain;q=0.8";
    let answer = get(&lab, &token, "/vms", liked).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let answer = get(&lab, &token, "/vms", "text/html, */*;q=0.8").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    get(&lab, &token, "/vms?filter=x", "text/csv").await.problem(400, "BAD_PARAMETER");
    let answer = get(&lab, &token, "/vms?expand=VBDs", "text/csv").await;
    let problem = answer.problem(400, "BAD_PARAMETER");
    assert!(
        problem["detail"].as_str().is_some_and(|detail| detail.contains("text/csv")),
        "{problem}"
    );
    // Each form has a tag of its own.
    let tags = ["application/json", "text/csv", "text/plain", "application/x-ndjson"];
    let mut seen = std::collections::BTreeSet::new();
    for accept in tags {
        let answer = get(&lab, &token, "/vms?fields=name_label", accept).await;
        assert!(answer.header("vary").is_some_and(|vary| vary.contains("Accept")));
        assert!(seen.insert(answer.header("etag").expect("a tag").to_owned()), "{accept}");
    }
    lab.end().await;
}
